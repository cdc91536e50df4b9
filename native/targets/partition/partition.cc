#include "targets/partition/partition.h"

#include "core/partition.h"

namespace us {

void PartitionTarget::fill(us_layer &layer, us_link *, const std::vector<uint64_t> &sizes) const {
    if (sizes.size() != 1) refuse("partition needs one member");
    uint64_t start = config().params.value("offsetBytes", uint64_t{0});
    if (start > sizes[0] || config().size > sizes[0] - start) refuse("it does not lie inside its member");
    if (start % config().geometry.logical_block != 0)
        refuse("offsetBytes is not a multiple of its block size");
    layer.param[US_PARTITION_START] = start;
}

} // namespace us
