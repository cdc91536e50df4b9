// Which granules lie in the overlay: one bit each, in a file of the run directory, mapped. It outlives a
// killed server, and not a reboot, and so does what the overlay means.
//
//     head: owner, generation of the last reset │ bits
//
// A bit is set once its granule is whole in the overlay. A predecessor that was killed in the middle of a
// reset has left its mark, and the reset is done again.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace us {

class OverlayMap {
  public:
    OverlayMap() = default;
    ~OverlayMap();
    OverlayMap(const OverlayMap &) = delete;
    OverlayMap &operator=(const OverlayMap &) = delete;

    // Takes over what a predecessor of the same owner has left. owner: the boot, base, overlay and granule.
    // fresh: whether there was nothing of the kind. 0 or -errno.
    int open(const std::string &path, const std::string &owner, uint64_t nr_granules, bool &fresh);

    // Any thread, as all that follows.
    bool has(uint64_t granule) const;
    void add(uint64_t first, uint64_t end);
    // First granule from `from` on, before end, whose bit is not `has`.
    uint64_t run_end(uint64_t from, uint64_t end, bool has) const;
    uint64_t count() const { return count_.load(std::memory_order_relaxed); }

    // begin, throw the overlay's content away, end.
    void begin_reset();
    void end_reset(const std::string &asked_by);
    bool resetting() const;
    // What asked for the last reset.
    std::string asked_by() const;

  private:
    struct Head;
    std::atomic_ref<uint64_t> word(uint64_t granule) const;

    Head *head_ = nullptr;
    uint64_t *words_ = nullptr;
    size_t bytes_ = 0;
    uint64_t nr_granules_ = 0;
    std::atomic<uint64_t> count_{0};
};

} // namespace us
