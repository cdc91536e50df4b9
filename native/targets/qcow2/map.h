// Where the guest's bytes are, run by run: what `qemu-img map` shows of one image, its backing left out.
#pragma once

#include <functional>
#include <vector>

#include "targets/qcow2/header.h"
#include "targets/qcow2/media.h"

namespace us::qcow2 {

struct MapRun {
    uint64_t start = 0, length = 0; // bytes of the guest
    us_qcow2_kind kind = US_QCOW2_UNALLOCATED;
    uint64_t host = 0; // of DATA, INFLATE, and of what is reserved for others; 0: nowhere
};

// [start, end) of the guest's disk, in order, without a gap; runs that go on in every respect are one. Ends
// early with more than `most` of them; the last one may then go on. 0 or -errno.
Task<int> map(Media &media, const Header &header, uint64_t start, uint64_t end, std::vector<MapRun> &runs,
              size_t most = SIZE_MAX);

} // namespace us::qcow2
