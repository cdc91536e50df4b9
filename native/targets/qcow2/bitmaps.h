// The directory of bitmaps: specification, "Bitmaps".
#pragma once

#include <string>
#include <vector>

#include "targets/qcow2/header.h"

namespace us::qcow2 {

struct Bitmap {
    std::string name;
    uint64_t table_offset = 0;
    uint32_t table_entries = 0;
    uint32_t granularity_bits = 0;
    bool in_use = false;  // not saved correctly: its content may be outdated
    bool enabled = false; // `auto`: every write is to be recorded
    Range table() const { return {table_offset, uint64_t{table_entries} * 8}; }
};

// bytes: the whole directory.
std::optional<Refusal> parse_bitmaps(std::span<const std::byte> bytes, const Header &header,
                                     std::vector<Bitmap> &bitmaps);

} // namespace us::qcow2
