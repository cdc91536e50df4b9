// Memory as direct IO wants it, of any content at first. Empty when there is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include "targets/qcow2/format.h"

namespace us::qcow2 {

class Buffer {
  public:
    static constexpr uint64_t ALIGNMENT = 4096;

    Buffer() = default;
    explicit Buffer(uint64_t bytes)
        : memory_(static_cast<std::byte *>(aligned_alloc(ALIGNMENT, round_up(bytes, ALIGNMENT)))),
          bytes_(memory_ ? bytes : 0) {}

    explicit operator bool() const { return memory_ != nullptr; }
    std::byte *data() const { return memory_.get(); }
    std::span<std::byte> span() const { return {memory_.get(), bytes_}; }

  private:
    struct Free {
        void operator()(std::byte *memory) const { free(memory); }
    };
    std::unique_ptr<std::byte, Free> memory_;
    uint64_t bytes_ = 0;
};

} // namespace us::qcow2
