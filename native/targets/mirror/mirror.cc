#include "targets/mirror/mirror.h"

#include <algorithm>

namespace us {

void MirrorTarget::fill(us_layer &, us_link *, const std::vector<uint64_t> &sizes) const {
    if (sizes.empty()) refuse("mirror needs a member");
    if (config().size > *std::min_element(sizes.begin(), sizes.end()))
        refuse("its size is larger than its smallest member");
}

} // namespace us
