#include "targets/stripe/stripe.h"

#include <algorithm>
#include <bit>

#include "core/stripe.h"

namespace us {

void StripeTarget::fill(us_layer &layer, us_link *, const std::vector<uint64_t> &sizes) const {
    if (sizes.empty()) refuse("stripe needs a member");
    uint64_t chunk = config().params.value("chunkBytes", uint64_t{0});
    if (!std::has_single_bit(chunk) || chunk < config().geometry.logical_block)
        refuse("chunkBytes is not a power of two of at least a block");
    uint64_t smallest = *std::min_element(sizes.begin(), sizes.end());
    uint64_t row = chunk * sizes.size();
    if (config().size % row != 0 || config().size / sizes.size() > smallest)
        refuse("its size is not a whole number of rows that fits its smallest member");
    layer.param[US_STRIPE_CHUNK_SHIFT] = static_cast<uint64_t>(std::countr_zero(chunk));
}

} // namespace us
