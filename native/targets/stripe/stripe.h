// stripe: chunks dealt out in turn. The mapping is core/stripe.h. params: chunkBytes, a power of two.
#pragma once

#include "targets/target.h"

namespace us {

class StripeTarget : public Target {
  public:
    using Target::Target;
    us_type core_type() const override { return US_TYPE_STRIPE; }
    void fill(us_layer &layer, us_link *links, const std::vector<uint64_t> &sizes) const override;
};

} // namespace us
