// An array without an end of which most is zero: memory for what was touched alone, and a little around it.
#pragma once

#include <array>
#include <cstdint>
#include <map>

namespace us::qcow2 {

template <typename T> class SparseArray {
  public:
    static constexpr uint64_t NONE = UINT64_MAX;

    T get(uint64_t index) const {
        auto found = chunks_.find(index / CHUNK);
        return found == chunks_.end() ? T{} : found->second[index % CHUNK];
    }
    T &operator[](uint64_t index) {
        // Neighbours come one after another.
        if (!last_ || last_number_ != index / CHUNK) {
            last_number_ = index / CHUNK;
            last_ = &chunks_[last_number_];
        }
        return (*last_)[index % CHUNK];
    }
    // The first index from `from` on whose element is not zero; NONE.
    uint64_t next(uint64_t from) const {
        for (auto it = chunks_.lower_bound(from / CHUNK); it != chunks_.end(); ++it) {
            uint64_t first = it->first * CHUNK;
            for (uint64_t i = from > first ? from - first : 0; i < CHUNK; i++)
                if (it->second[i] != T{}) return first + i;
        }
        return NONE;
    }

  private:
    static constexpr uint64_t CHUNK = 64;
    using Chunk = std::array<T, CHUNK>;

    std::map<uint64_t, Chunk> chunks_; // whose elements stay where they are
    Chunk *last_ = nullptr;
    uint64_t last_number_ = 0;
};

} // namespace us::qcow2
