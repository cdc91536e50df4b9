// mirror: every child holds the same bytes. The mapping is core/mirror.h.
#pragma once

#include "targets/target.h"

namespace us {

class MirrorTarget : public Target {
  public:
    using Target::Target;
    us_type core_type() const override { return US_TYPE_MIRROR; }
    void fill(us_layer &layer, us_link *links, const std::vector<uint64_t> &sizes) const override;
};

} // namespace us
