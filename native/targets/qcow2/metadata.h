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

    // All anew. False when two tables lie in one cluster.
    bool replace(const std::vector<Range> &ranges) {
        std::vector<uint64_t> clusters;
        for (const Range &range : ranges)
            for (uint64_t at = range.offset; at < range.end(); at += cluster_)
                clusters.push_back(at / cluster_);
        std::sort(clusters.begin(), clusters.end());
        bool distinct = std::adjacent_find(clusters.begin(), clusters.end()) == clusters.end();
        std::lock_guard lock(mutex_);
        clusters_ = std::move(clusters);
        return distinct;
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
