// What an image lies on: a layer of the stack below its handler, a file in a test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "targets/task.h"

namespace us::qcow2 {

class Media {
  public:
    virtual ~Media() = default;

    // All of it, at any alignment; past the end there are zeros. 0 or -errno.
    virtual Task<int> read(uint64_t offset, std::span<std::byte> into) = 0;

    // 0 or -errno: -EROFS where nothing may be written. Durable after flush().
    virtual Task<int> write(uint64_t offset, std::span<const std::byte> from) = 0;
    virtual Task<int> flush() = 0;

    // Nobody needs these bytes any more: they may read zeros from now on, or what was there. Best effort.
    virtual Task<void> discard(uint64_t, uint64_t) { co_return; }

    virtual uint64_t size() const = 0; // bytes
};

} // namespace us::qcow2
