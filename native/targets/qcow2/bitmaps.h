// The directory of bitmaps: specification, "Bitmaps".
#pragma once

#include <string>
#include <vector>

#include "targets/qcow2/header.h"

namespace us::qcow2 {

struct Bitmap {
    std::string name;
    uint64_t place = 0; // of its entry, bytes into the directory
    uint64_t table_offset = 0;
    uint32_t table_entries = 0;
    uint32_t granularity_bits = 0;
    bool in_use = false;  // not saved correctly: its content may be outdated
    bool enabled = false; // `auto`: every write is to be recorded
    Range table() const { return {table_offset, uint64_t{table_entries} * 8}; }
};

// Marks the entry of a directory as `in_use`: what it has recorded is not to be relied upon any more.
void mark_in_use(std::span<std::byte> directory, const Bitmap &bitmap);

// bytes: the whole directory.
std::optional<Refusal> parse_bitmaps(std::span<const std::byte> bytes, const Header &header,
                                     std::vector<Bitmap> &bitmaps);

} // namespace us::qcow2
