// What lies where in an image, as far as it matters for what may move.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace us::qcow2 {

struct Layout {
    std::vector<bool> data;   // clusters, by index: the guest's, of the disk alone
    std::vector<bool> tables; // that may move
    uint64_t used = 0;        // clusters
    uint64_t data_end = 0;    // behind the last of those; so below
    uint64_t tables_end = 0;
    uint64_t fixed_end = 0; // of all others

    // Where the image ends once its data have moved.
    uint64_t end() const { return std::max({used, tables_end, fixed_end}); }
};

} // namespace us::qcow2
