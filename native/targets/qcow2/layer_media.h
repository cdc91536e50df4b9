// A layer of the stack as media of an image: at any alignment and length.
//
//     aligned to the layer's blocks       straight to the layer
//     else                                by way of memory; writes read the rest of their blocks first, one
//     at a
//                                         time in a block
//
// Above mirrors each operation has an in-flight slot, as a client's request has (targets/inflight.h): so a
// mirror knows what may still act on an old word, and a successor what to make equal.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "targets/executor.h"
#include "targets/qcow2/media.h"
#include "targets/qcow2/turns.h"
#include "targets/qcow2/waiters.h"
#include "targets/target.h"

namespace us::qcow2 {

struct LayerPlace {
    uint32_t layer = 0;
    uint64_t size = 0; // bytes that there can be
    uint32_t block = US_SECTOR_BYTES;
    const Leaf *growing = nullptr; // whose length says how many there are; nullptr: all of them
    Inflight *inflight = nullptr;  // nullptr: no slots
    uint32_t first_slot = 0, nr_slots = 0;
};

class LayerMedia : public Media {
  public:
    explicit LayerMedia(const LayerPlace &place);

    Task<int> read(uint64_t offset, std::span<std::byte> into) override;
    Task<int> write(uint64_t offset, std::span<const std::byte> from) override;
    Task<int> flush() override;
    Task<void> discard(uint64_t offset, uint64_t length) override;
    uint64_t size() const override { return place_.growing ? place_.growing->length() : place_.size; }

    // Gives the bytes zeros: their space as well, unless `keep`. 0 or -errno.
    Task<int> zero(uint64_t offset, uint64_t length, bool keep);

  private:
    struct Slot;

    bool aligned(uint64_t offset, std::span<const std::byte> bytes) const;
    uint64_t block_start(uint64_t offset) const { return offset / place_.block * place_.block; }
    Task<int> execute(us_op op, uint64_t offset, uint64_t length, std::byte *data, uint32_t flags = 0);
    Task<int> read_around(uint64_t offset, std::span<std::byte> into);
    Task<int> write_around(uint64_t offset, std::span<const std::byte> from);

    LayerPlace place_;
    Turns blocks_; // those that are written in part
    std::mutex mutex_;
    std::vector<uint32_t> free_slots_;
    Waiters slot_freed_;
};

} // namespace us::qcow2
