#include "engine/sync_order.h"

#include <algorithm>

namespace us {

uint64_t SyncOrder::begin() {
    std::lock_guard lock(mutex_);
    running_.push_back(++last_);
    return last_;
}

std::vector<LeafOp *> SyncOrder::end(uint64_t ticket) {
    std::lock_guard lock(mutex_);
    std::erase(running_, ticket);
    uint64_t oldest = running_.empty() ? UINT64_MAX : running_.front();
    std::vector<LeafOp *> free;
    std::erase_if(held_, [&](const Held &held) {
        if (held.last >= oldest) return false;
        free.push_back(held.op);
        return true;
    });
    return free;
}

bool SyncOrder::hold(LeafOp &op) {
    std::lock_guard lock(mutex_);
    if (running_.empty()) return false;
    held_.push_back({&op, last_});
    return true;
}

} // namespace us
