// The numbers of the qcow2 format, as QEMU's docs/interop/qcow2 has them. All words on disk are big-endian.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace us::qcow2 {

constexpr uint32_t MAGIC = 0x514649fb; // "QFI\xfb"

// Header lengths, and the first byte that version 3 may leave out.
constexpr uint32_t V2_HEADER_BYTES = 72, V3_HEADER_BYTES = 104, COMPRESSION_BYTE = 104;

constexpr uint32_t MIN_CLUSTER_BITS = 9, MAX_CLUSTER_BITS = 21, MIN_EXTENDED_CLUSTER_BITS = 14;
constexpr uint32_t MAX_REFCOUNT_ORDER = 6, V2_REFCOUNT_ORDER = 4;

// QEMU's own limits, which keep a hostile header from asking for all memory.
constexpr uint64_t MAX_L1_BYTES = 32 << 20, MAX_REFCOUNT_TABLE_BYTES = 8 << 20,
                   MAX_SNAPSHOT_TABLE_BYTES = 64 << 20;
constexpr uint64_t MAX_BITMAP_DIRECTORY_BYTES = 64 << 20;
constexpr uint64_t MAX_HOST = uint64_t{1} << 56; // what a table's entry can say
constexpr uint32_t MAX_SNAPSHOTS = 65536, MAX_BITMAPS = 65535, MAX_SNAPSHOT_EXTRA_BYTES = 1024;
constexpr uint32_t MAX_BACKING_NAME_BYTES = 1023;

enum Incompatible : uint64_t {
    INCOMPATIBLE_DIRTY = 1 << 0,
    INCOMPATIBLE_CORRUPT = 1 << 1,
    INCOMPATIBLE_DATA_FILE = 1 << 2,
    INCOMPATIBLE_COMPRESSION = 1 << 3,
    INCOMPATIBLE_EXTENDED_L2 = 1 << 4,
    INCOMPATIBLE_KNOWN = (1 << 5) - 1,
};
enum Compatible : uint64_t { COMPATIBLE_LAZY_REFCOUNTS = 1 << 0 };
enum Autoclear : uint64_t { AUTOCLEAR_BITMAPS = 1 << 0, AUTOCLEAR_DATA_FILE_RAW = 1 << 1 };

enum class Compression : uint8_t { zlib = 0, zstd = 1 };
enum class Crypt : uint32_t { none = 0, aes = 1, luks = 2 };

enum Extension : uint32_t {
    EXTENSION_END = 0,
    EXTENSION_BACKING_FORMAT = 0xe2792aca,
    EXTENSION_FEATURE_NAMES = 0x6803f857,
    EXTENSION_BITMAPS = 0x23852875,
    EXTENSION_CRYPTO_HEADER = 0x0537be77,
    EXTENSION_DATA_FILE = 0x44415441,
};

// Bits of table entries that have to be 0.
constexpr uint64_t L1_RESERVED = 0x7f000000000001ff, REFCOUNT_TABLE_RESERVED = 0x1ff;
constexpr uint64_t L2_RESERVED =
    0x3f000000000001fe; // of a standard cluster; bit 0 is reserved in extended entries, too

template <typename T> T big_endian(T word) {
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(word);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(word);
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(word);
    return word;
}

// A word on disk, at any alignment.
template <typename T> T load(const std::byte *at) {
    T word;
    memcpy(&word, at, sizeof word);
    return big_endian(word);
}
template <typename T> void store(std::byte *at, T value) {
    value = big_endian(value);
    memcpy(at, &value, sizeof value);
}
static_assert(std::endian::native == std::endian::little, "only little-endian hosts are served");

inline uint64_t round_up(uint64_t bytes, uint64_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

} // namespace us::qcow2
