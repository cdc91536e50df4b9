// Which clusters hold the image's own tables. What is written for the guest, or given away, is looked up here
// first: an image whose tables contradict one another is found out before it is overwritten.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

#include "targets/qcow2/header.h"

namespace us::qcow2 {

class Metadata {
  public:
    explicit Metadata(uint64_t cluster_bytes) : cluster_(cluster_bytes) {}

    // While nothing else runs: all anew, any number of ranges, and then sort().
    void clear() { clusters_.clear(); }
    void load(const Range &range) {
        for (uint64_t at = range.offset; at < range.end(); at += cluster_)
            clusters_.push_back(at / cluster_);
    }
    // False when two tables lie in one cluster.
    bool sort() {
        std::sort(clusters_.begin(), clusters_.end());
        return std::adjacent_find(clusters_.begin(), clusters_.end()) == clusters_.end();
    }

    void add(uint64_t offset) {
        std::lock_guard lock(mutex_);
        uint64_t index = offset / cluster_;
        clusters_.insert(std::upper_bound(clusters_.begin(), clusters_.end(), index), index);
    }
    void remove(uint64_t offset) {
        std::lock_guard lock(mutex_);
        auto found = std::lower_bound(clusters_.begin(), clusters_.end(), offset / cluster_);
        if (found != clusters_.end() && *found == offset / cluster_) clusters_.erase(found);
    }
    bool has(uint64_t offset) const {
        std::lock_guard lock(mutex_);
        return std::binary_search(clusters_.begin(), clusters_.end(), offset / cluster_);
    }

  private:
    uint64_t cluster_;
    mutable std::mutex mutex_;
    std::vector<uint64_t> clusters_; // by index, in their order
};

} // namespace us::qcow2
