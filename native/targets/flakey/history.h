// What blocks held before they were written last: the newest of them, as many as fit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace us {

class History {
  public:
    // Any thread, all of them. Less room forgets the oldest.
    void allow(uint64_t bytes, uint64_t block_bytes);
    bool holds(uint64_t bytes) const;

    // offset, bytes: whole blocks.
    void remember(uint64_t offset, const std::byte *data, uint64_t bytes);
    // Puts older content in place of what is remembered of these blocks. Whether there was any.
    bool recall(uint64_t offset, std::byte *data, uint64_t bytes) const;

  private:
    struct Old {
        uint64_t block;
        std::vector<std::byte> bytes;
    };
    void forget_beyond(uint64_t blocks);

    mutable std::mutex mutex_;
    uint64_t block_bytes_ = 512, room_ = 0; // blocks
    std::list<Old> newest_first_;
    std::unordered_map<uint64_t, std::list<Old>::iterator> by_block_;
};

} // namespace us
