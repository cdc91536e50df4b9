// Page-aligned memory for the data of requests. One pool per worker, used on its thread only.
//
// Buffers are handed out last in, first out, so that a busy connection goes round in memory that the CPU
// still has in its cache; what is not used stays for the next, up to a bound.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace us::nbd {

class BufferPool {
  public:
    static constexpr uint32_t max_bytes = 256u << 10; // of one buffer
    static constexpr size_t max_idle_bytes = 16u << 20;

    BufferPool() = default;
    ~BufferPool() { trim(); }
    BufferPool(const BufferPool &) = delete;
    BufferPool &operator=(const BufferPool &) = delete;

    // 1 to max_bytes. Throws std::bad_alloc.
    std::byte *take(uint32_t bytes) {
        auto &idle = idle_[size_class(bytes)];
        if (idle.empty()) return allocate(bytes);
        std::byte *buffer = idle.back();
        idle.pop_back();
        idle_bytes_ -= capacity(bytes);
        return buffer;
    }
    // bytes: as given to take().
    void give_back(std::byte *buffer, uint32_t bytes) {
        if (idle_bytes_ + capacity(bytes) > max_idle_bytes) return std::free(buffer);
        idle_[size_class(bytes)].push_back(buffer);
        idle_bytes_ += capacity(bytes);
    }
    // Frees what is idle: nobody is connected.
    void trim() {
        for (auto &idle : idle_) {
            for (std::byte *buffer : idle)
                std::free(buffer);
            idle.clear();
        }
        idle_bytes_ = 0;
    }
    // What a buffer for that many bytes really takes.
    static uint32_t capacity(uint32_t bytes) { return min_bytes << size_class(bytes); }

  private:
    static constexpr uint32_t min_bytes = 4096;
    static constexpr uint32_t nr_classes = std::countr_zero(max_bytes / min_bytes) + 1;
    static uint32_t size_class(uint32_t bytes) {
        return bytes <= min_bytes ? 0 : std::bit_width((bytes - 1) / min_bytes);
    }
    static std::byte *allocate(uint32_t bytes) {
        void *memory = std::aligned_alloc(4096, capacity(bytes));
        if (!memory) throw std::bad_alloc();
        return static_cast<std::byte *>(memory);
    }

    std::array<std::vector<std::byte *>, nr_classes> idle_;
    size_t idle_bytes_ = 0;
};

} // namespace us::nbd
