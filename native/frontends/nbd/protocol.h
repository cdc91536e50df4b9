// The NBD protocol's messages and numbers.
//
// Source: the NBD protocol, doc/proto.md of NetworkBlockDevice/nbd; the section is named at each group. All
// numbers are big-endian on the wire, and no message is aligned: every field here is made of bytes, so that a
// message can lie anywhere in a buffer.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace us::nbd {

// A number as it lies on the wire. Alignment 1; reads and writes as the host's own.
template <typename T> class Wire {
  public:
    Wire() = default;
    Wire(T value) { store(value); }
    Wire &operator=(T value) {
        store(value);
        return *this;
    }
    operator T() const {
        T raw;
        std::memcpy(&raw, bytes_.data(), sizeof raw);
        return swap(raw);
    }

  private:
    static_assert(std::endian::native == std::endian::little);
    static T swap(T v) {
        if constexpr (sizeof(T) == 2) return __builtin_bswap16(v);
        if constexpr (sizeof(T) == 4) return __builtin_bswap32(v);
        if constexpr (sizeof(T) == 8) return __builtin_bswap64(v);
    }
    void store(T value) {
        T raw = swap(value);
        std::memcpy(bytes_.data(), &raw, sizeof raw);
    }
    std::array<std::byte, sizeof(T)> bytes_{};
};

using be16 = Wire<uint16_t>;
using be32 = Wire<uint32_t>;
using be64 = Wire<uint64_t>;

// ---- Handshake ("Newstyle negotiation", "Fixed newstyle negotiation")

constexpr uint64_t INIT_MAGIC = 0x4e42444d41474943;   // NBDMAGIC
constexpr uint64_t OPTION_MAGIC = 0x49484156454F5054; // IHAVEOPT
constexpr uint64_t OPTION_REPLY_MAGIC = 0x0003e889045565a9;

// "Handshake flags", "Client flags": the same bits both ways.
constexpr uint16_t FLAG_FIXED_NEWSTYLE = 1 << 0;
constexpr uint16_t FLAG_NO_ZEROES = 1 << 1;

struct Greeting {
    be64 init_magic{INIT_MAGIC};
    be64 option_magic{OPTION_MAGIC};
    be16 handshake_flags;
};
static_assert(sizeof(Greeting) == 18 && alignof(Greeting) == 1);

struct OptionHeader {
    be64 magic;
    be32 option;
    be32 length;
};
static_assert(sizeof(OptionHeader) == 16 && alignof(OptionHeader) == 1);

struct OptionReplyHeader {
    be64 magic{OPTION_REPLY_MAGIC};
    be32 option;
    be32 type;
    be32 length;
};
static_assert(sizeof(OptionReplyHeader) == 20 && alignof(OptionReplyHeader) == 1);

// What ends the handshake after NBD_OPT_EXPORT_NAME; the zeroes are left out under FLAG_NO_ZEROES.
struct ExportNameReply {
    be64 size;
    be16 transmission_flags;
};
static_assert(sizeof(ExportNameReply) == 10);
constexpr size_t EXPORT_NAME_ZEROES = 124;

// "Option types"
enum Option : uint32_t {
    OPT_EXPORT_NAME = 1,
    OPT_ABORT = 2,
    OPT_LIST = 3,
    OPT_PEEK_EXPORT = 4, // withdrawn
    OPT_STARTTLS = 5,
    OPT_INFO = 6,
    OPT_GO = 7,
    OPT_STRUCTURED_REPLY = 8,
    OPT_LIST_META_CONTEXT = 9,
    OPT_SET_META_CONTEXT = 10,
    OPT_EXTENDED_HEADERS = 11,
};

// "Option reply types"
enum OptionReply : uint32_t {
    REP_ACK = 1,
    REP_SERVER = 2,
    REP_INFO = 3,
    REP_META_CONTEXT = 4,
    REP_ERR_UNSUP = (1u << 31) + 1,
    REP_ERR_POLICY = (1u << 31) + 2,
    REP_ERR_INVALID = (1u << 31) + 3,
    REP_ERR_PLATFORM = (1u << 31) + 4,
    REP_ERR_TLS_REQD = (1u << 31) + 5,
    REP_ERR_UNKNOWN = (1u << 31) + 6,
    REP_ERR_SHUTDOWN = (1u << 31) + 7,
    REP_ERR_BLOCK_SIZE_REQD = (1u << 31) + 8,
    REP_ERR_TOO_BIG = (1u << 31) + 9,
};

// "NBD_REP_INFO": information types
enum Info : uint16_t {
    INFO_EXPORT = 0,
    INFO_NAME = 1,
    INFO_DESCRIPTION = 2,
    INFO_BLOCK_SIZE = 3,
};

struct InfoExport {
    be16 type{INFO_EXPORT};
    be64 size;
    be16 transmission_flags;
};
static_assert(sizeof(InfoExport) == 12);

struct InfoBlockSize {
    be16 type{INFO_BLOCK_SIZE};
    be32 minimum;
    be32 preferred;
    be32 maximum_payload;
};
static_assert(sizeof(InfoBlockSize) == 14);

// "Conventions": no string is longer.
constexpr uint32_t MAX_STRING = 4096;

// "Metadata querying": the one context that the protocol itself defines.
constexpr char BASE_ALLOCATION[] = "base:allocation";
// The id that this server gives it; opaque to clients.
constexpr uint32_t ALLOCATION_CONTEXT_ID = 1;

// ---- Transmission

// "Transmission flags"
enum TransmissionFlag : uint16_t {
    FLAG_HAS_FLAGS = 1 << 0,
    FLAG_READ_ONLY = 1 << 1,
    FLAG_SEND_FLUSH = 1 << 2,
    FLAG_SEND_FUA = 1 << 3,
    FLAG_ROTATIONAL = 1 << 4,
    FLAG_SEND_TRIM = 1 << 5,
    FLAG_SEND_WRITE_ZEROES = 1 << 6,
    FLAG_SEND_DF = 1 << 7,
    FLAG_CAN_MULTI_CONN = 1 << 8,
    FLAG_SEND_CACHE = 1 << 10,
    FLAG_SEND_FAST_ZERO = 1 << 11,
};

constexpr uint32_t REQUEST_MAGIC = 0x25609513;
constexpr uint32_t SIMPLE_REPLY_MAGIC = 0x67446698;
constexpr uint32_t STRUCTURED_REPLY_MAGIC = 0x668e33ef;

// "Request types"
enum CommandType : uint16_t {
    CMD_READ = 0,
    CMD_WRITE = 1,
    CMD_DISC = 2,
    CMD_FLUSH = 3,
    CMD_TRIM = 4,
    CMD_CACHE = 5,
    CMD_WRITE_ZEROES = 6,
    CMD_BLOCK_STATUS = 7,
};

// "Command flags"
enum CommandFlag : uint16_t {
    CMD_FLAG_FUA = 1 << 0,
    CMD_FLAG_NO_HOLE = 1 << 1,
    CMD_FLAG_DF = 1 << 2,
    CMD_FLAG_REQ_ONE = 1 << 3,
    CMD_FLAG_FAST_ZERO = 1 << 4,
};

// "Request message"
struct RequestHeader {
    be32 magic;
    be16 flags;
    be16 type;
    be64 cookie;
    be64 offset;
    be32 length;
};
static_assert(sizeof(RequestHeader) == 28 && alignof(RequestHeader) == 1);

// "Simple reply message"
struct SimpleReply {
    be32 magic{SIMPLE_REPLY_MAGIC};
    be32 error;
    be64 cookie;
};
static_assert(sizeof(SimpleReply) == 16);

// "Structured reply chunk message"
struct Chunk {
    be32 magic{STRUCTURED_REPLY_MAGIC};
    be16 flags;
    be16 type;
    be64 cookie;
    be32 length;
};
static_assert(sizeof(Chunk) == 20);

constexpr uint16_t REPLY_FLAG_DONE = 1 << 0; // "Structured reply flags"

// "Structured reply types"
enum ChunkType : uint16_t {
    CHUNK_NONE = 0,
    CHUNK_OFFSET_DATA = 1,
    CHUNK_OFFSET_HOLE = 2,
    CHUNK_BLOCK_STATUS = 5,
    CHUNK_ERROR = (1 << 15) + 1,
    CHUNK_ERROR_OFFSET = (1 << 15) + 2,
};

struct ErrorPayload {
    be32 error;
    be16 message_length;
};
static_assert(sizeof(ErrorPayload) == 6);

struct StatusDescriptor {
    be32 length;
    be32 flags;
};
static_assert(sizeof(StatusDescriptor) == 8);

// "Error values"
enum Error : uint32_t {
    NBD_SUCCESS = 0,
    NBD_EPERM = 1,
    NBD_EIO = 5,
    NBD_ENOMEM = 12,
    NBD_EINVAL = 22,
    NBD_ENOSPC = 28,
    NBD_EOVERFLOW = 75,
    NBD_ENOTSUP = 95,
    NBD_ESHUTDOWN = 108,
};

// "Size constraints": what every server should accept, and what this one advertises.
constexpr uint32_t MAX_PAYLOAD = 32u << 20;

} // namespace us::nbd
