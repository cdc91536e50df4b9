// Which part of the image file an entry of an L2 table holds on to.
#pragma once

#include "targets/qcow2/header.h"

namespace us::qcow2 {

// Each cluster that the range touches has one reference of the entry. Empty: it has no place of its own.
inline Range entry_range(const Header &header, uint64_t word, uint64_t subclusters) {
    if (header.shape.data_file) return {};
    if (!(word & US_QCOW2_COMPRESSED)) {
        uint64_t host = word & US_QCOW2_HOST_MASK;
        return {host, host == 0 ? 0 : header.cluster_bytes()};
    }
    us_qcow2_run run = us_qcow2_entry(&header.shape, word, subclusters, 0, 0);
    uint64_t first = run.host / US_SECTOR_BYTES * US_SECTOR_BYTES;
    return {first, run.host + run.host_bytes - first};
}

} // namespace us::qcow2
