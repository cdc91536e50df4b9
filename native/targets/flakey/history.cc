#include "targets/flakey/history.h"

#include <cstring>

namespace us {

void History::allow(uint64_t bytes, uint64_t block_bytes) {
    std::lock_guard lock(mutex_);
    block_bytes_ = block_bytes;
    room_ = bytes / block_bytes;
    forget_beyond(room_);
}

bool History::holds(uint64_t bytes) const {
    std::lock_guard lock(mutex_);
    return bytes / block_bytes_ <= room_;
}

void History::forget_beyond(uint64_t blocks) {
    while (newest_first_.size() > blocks) {
        by_block_.erase(newest_first_.back().block);
        newest_first_.pop_back();
    }
}

void History::remember(uint64_t offset, const std::byte *data, uint64_t bytes) {
    std::lock_guard lock(mutex_);
    for (uint64_t done = 0; done < bytes && room_ > 0; done += block_bytes_) {
        uint64_t block = (offset + done) / block_bytes_;
        auto known = by_block_.find(block);
        if (known != by_block_.end()) {
            newest_first_.splice(newest_first_.begin(), newest_first_, known->second);
        } else {
            newest_first_.push_front({block, {}});
            by_block_[block] = newest_first_.begin();
        }
        newest_first_.front().bytes.assign(data + done, data + done + block_bytes_);
        forget_beyond(room_);
    }
}

bool History::recall(uint64_t offset, std::byte *data, uint64_t bytes) const {
    std::lock_guard lock(mutex_);
    bool any = false;
    for (uint64_t done = 0; done < bytes; done += block_bytes_) {
        auto known = by_block_.find((offset + done) / block_bytes_);
        if (known == by_block_.end()) continue;
        memcpy(data + done, known->second->bytes.data(), block_bytes_);
        any = true;
    }
    return any;
}

} // namespace us
