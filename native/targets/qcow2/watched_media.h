// Media that remember that a flush has failed. What was written since the last one that had not may be gone
// then, whatever can still be read back, and no later flush says so: the kernel reports such a loss once. So
// all of an image's tables have to be written anew before its disk is trusted again (image_rewrite.cc).
#pragma once

#include <atomic>
#include <cstdint>

#include "targets/qcow2/media.h"

namespace us::qcow2 {

class WatchedMedia final : public Media {
  public:
    explicit WatchedMedia(Media &media) : media_(media) {}

    // The doubt outlives the server where this word does. Before the first flush.
    void keep(uint32_t &word) { doubt_ = &word; }

    // 0: the disk has what it was given. Else a number that grows with every flush that fails.
    uint32_t doubt() const { return std::atomic_ref(*doubt_).load(); }
    // One that was not made here has failed.
    void distrust() { std::atomic_ref(*doubt_).fetch_add(1); }
    // Everything was written anew, and flushed, since doubt() was asked.
    void settle(uint32_t doubt) { std::atomic_ref(*doubt_).compare_exchange_strong(doubt, 0); }

    Task<int> read(uint64_t offset, std::span<std::byte> into) override { return media_.read(offset, into); }
    Task<int> write(uint64_t offset, std::span<const std::byte> from) override {
        return media_.write(offset, from);
    }
    Task<int> flush() override {
        int error = co_await media_.flush();
        if (error != 0) distrust();
        co_return error;
    }
    Task<void> discard(uint64_t offset, uint64_t length) override { return media_.discard(offset, length); }
    uint64_t size() const override { return media_.size(); }

  private:
    Media &media_;
    uint32_t own_ = 0;
    uint32_t *doubt_ = &own_;
};

} // namespace us::qcow2
