// An array of which most is zero: memory for what was touched alone.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace us::qcow2 {

template <typename T> class SparseArray {
  public:
    explicit SparseArray(uint64_t size) : size_(size), chunks_((size + CHUNK - 1) / CHUNK) {}

    uint64_t size() const { return size_; }
    T get(uint64_t index) const {
        const auto &chunk = chunks_[index / CHUNK];
        return chunk ? (*chunk)[index % CHUNK] : T{};
    }
    T &operator[](uint64_t index) {
        auto &chunk = chunks_[index / CHUNK];
        if (!chunk) chunk = std::make_unique<Chunk>();
        return (*chunk)[index % CHUNK];
    }
    // First index from `from` on whose element may differ from zero; size() when there is none.
    uint64_t next(uint64_t from) const {
        while (from < size_ && !chunks_[from / CHUNK])
            from = (from / CHUNK + 1) * CHUNK;
        return from < size_ ? from : size_;
    }

  private:
    static constexpr size_t CHUNK = 512;
    using Chunk = std::array<T, CHUNK>;

    uint64_t size_;
    std::vector<std::unique_ptr<Chunk>> chunks_;
};

} // namespace us::qcow2
