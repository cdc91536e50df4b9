// linear: children one after the other. The mapping is core/linear.h.
#pragma once

#include "targets/target.h"

namespace us {

class LinearTarget : public Target {
  public:
    using Target::Target;
    us_type core_type() const override { return US_TYPE_LINEAR; }
    void fill(us_layer &layer, us_link *links, const std::vector<uint64_t> &sizes) const override;
};

} // namespace us
