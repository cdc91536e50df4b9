// partition: a range of bytes of its child. The mapping is core/partition.h. params: offsetBytes.
#pragma once

#include "targets/target.h"

namespace us {

class PartitionTarget : public Target {
  public:
    using Target::Target;
    us_type core_type() const override { return US_TYPE_PARTITION; }
    void fill(us_layer &layer, us_link *links, const std::vector<uint64_t> &sizes) const override;
};

} // namespace us
