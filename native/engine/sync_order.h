// Which flushes and durable writes of one leaf overlap. The kernel tells a failed writeback to one of them
// only (errseq_t): a flush that succeeds proves nothing until all that overlapped it have ended well, too.
//
//     flush 1   begin ────────────── EIO, end                     remembered by the leaf
//     flush 2           begin ── 0 ············ end: EIO          held until flush 1 has told
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

namespace us {

struct LeafOp;

// Any thread.
class SyncOrder {
  public:
    // A ticket for one that is about to begin; never 0.
    uint64_t begin();

    // It has ended, and a failure has been told to the leaf. Returns those that may be concluded now.
    std::vector<LeafOp *> end(uint64_t ticket);

    // One that has succeeded, and has been ended: true when it is held until those that overlap it have
    // ended.
    bool hold(LeafOp &op);

  private:
    struct Held {
        LeafOp *op;
        uint64_t last; // the newest ticket that it waits for
    };

    std::mutex mutex_;
    uint64_t last_ = 0;
    std::vector<uint64_t> running_; // oldest first
    std::vector<Held> held_;
};

} // namespace us
