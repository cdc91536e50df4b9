// The log's format on the media: device mapper's log-writes, version 1 (drivers/md/dm-log-writes.c).
//
//     super │ entry │ data of nr_sectors │ entry │ data … │ entry (mark, discard, flush: no data behind it) │
//     …
//
// Super and entries fill a sector each, zeros behind their fields. Sectors are the block size of the layer
// whose writes are recorded. All numbers are little-endian. The text of a mark stands in its entry, after the
// fields.
#pragma once

#include <cstdint>

namespace us::logformat {

constexpr uint64_t MAGIC = 0x6a736677736872;
constexpr uint64_t VERSION = 1;

enum Flag : uint64_t {
    FLUSH = 1 << 0,
    FUA = 1 << 1,
    DISCARD = 1 << 2,
    MARK = 1 << 3,
    METADATA = 1 << 4, // of bios alone: no request that reaches us says so
};

struct Super {
    uint64_t magic, version, nr_entries;
    uint32_t sector_bytes;
} __attribute__((packed));
static_assert(sizeof(Super) == 28);

struct Entry {
    uint64_t sector, nr_sectors, flags;
    uint64_t data_bytes; // of what stands in the entry's own sector: a mark's text
} __attribute__((packed));
static_assert(sizeof(Entry) == 32);

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the fields are used as they lie on the media");

inline uint64_t data_sectors(const Entry &entry) {
    return entry.flags & DISCARD ? 0 : entry.nr_sectors;
}

// Marks of our own; those of users may not begin so.
constexpr const char *OWN_MARK = "ublk-stack:";
constexpr const char *ENDED_MARK = "ublk-stack:ended"; // for good: the log was full, or could not be written
constexpr const char *OFF_MARK = "ublk-stack:off";     // what is written until the next mark is missing
constexpr const char *ON_MARK = "ublk-stack:on";

} // namespace us::logformat
