#include "targets/linear/linear.h"

namespace us {

void LinearTarget::fill(us_layer &, us_link *links, const std::vector<uint64_t> &sizes) const {
    if (sizes.empty()) refuse("linear needs a member");
    uint64_t start = 0;
    for (size_t i = 0; i < sizes.size(); i++) {
        links[i].start = start;
        if (__builtin_add_overflow(start, sizes[i], &start)) refuse("the members are too large");
    }
    if (start < config().size || links[sizes.size() - 1].start >= config().size)
        refuse("its size does not fit its members");
}

} // namespace us
