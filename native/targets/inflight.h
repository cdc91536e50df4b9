// What is in flight, where it outlives the server; and the grace period built on it.
//
// Every write-like request publishes a slot before it reads a live word, and clears it once it has ended; in
// tables with formats reads do, too:
//
//     slot (live file)   free ──publish──▶ fast ──turn_careful──▶ careful ──clear──▶ free
//     inside (process)               every mirror            those it entered
//
// The kernel's program publishes by itself, with SLOT_IN_KERNEL in the sequence: as good as inside of every
// mirror. What it passes on is published anew, without a gap.
//
//   - A successor finds in the slots what its killed predecessor was writing, and makes the members equal
//   there.
//   - Whoever changes a live word (a gate, a window, a member) and then waits until every slot that was busy
//   at that
//     moment has ended, or is careful and not inside of that mirror, knows that nobody acts on the old word.
//
// A careful request enters a mirror before it looks at its words, and leaves it to wait for anything that
// this mirror has to do first. So waits point from outer to inner mirrors only, and cannot form a cycle.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/table.h"

namespace us {

constexpr uint64_t SLOT_IN_KERNEL = uint64_t{1} << 63; // bpf/loop.bpf.c

struct alignas(64) Slot {
    std::atomic<uint64_t> sequence; // 0: free; else differs at each use
    uint64_t offset, length;        // bytes, in the root layer
    uint32_t root, op;
    // How often the kernel's program has published here, and for reads.
    std::atomic<uint64_t> kernel_times, kernel_reads;
};
static_assert(sizeof(Slot) == 64 && std::atomic<uint64_t>::is_always_lock_free);

class Inflight {
  public:
    // slots stay the caller's.
    Inflight(Slot *slots, uint32_t nr) : slots_(slots), own_(std::make_unique<Own[]>(nr)), nr_(nr) {}

    // By the slot's owner, on one thread at a time. A full barrier: live words read after it are not older.
    void publish(uint32_t slot, uint32_t root, us_op op, uint64_t offset, uint64_t length) {
        Own &own = own_[slot];
        Slot &s = slots_[slot];
        s.offset = offset;
        s.length = length;
        s.root = root;
        s.op = op;
        own.inside.store(~uint64_t{0}, std::memory_order_relaxed);
        uint64_t times = own.times.load(std::memory_order_relaxed) + 1;
        own.times.store(times, std::memory_order_relaxed);
        if (op == US_OP_READ)
            own.reads.store(own.reads.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        s.sequence.store(times, std::memory_order_release);
        std::atomic_thread_fence(std::memory_order_seq_cst);
    }

    void clear(uint32_t slot) { slots_[slot].sequence.store(0, std::memory_order_release); }

    // Nothing of the request is under way now, and it will look at the words of each mirror anew.
    void turn_careful(uint32_t slot) { own_[slot].inside.store(0, std::memory_order_release); }
    void enter(uint32_t slot, uint32_t layer) { own_[slot].inside.fetch_or(uint64_t{1} << layer); }
    void leave(uint32_t slot, uint32_t layer) { own_[slot].inside.fetch_and(~(uint64_t{1} << layer)); }

    using Older = std::vector<std::pair<uint32_t, uint64_t>>; // slot, sequence

    enum class Of { writes, all };
    // Those that may still act on words of before this call. Reads publish slots where what they see may go
    // away; who changes words for writes alone need not wait for them.
    Older busy(Of of = Of::writes) const;

    // Removes those that no longer can, as far as mirror `layer` is concerned. True when none is left.
    bool passed(Older &older, uint32_t layer) const;

    // Grows with every publish of a write.
    uint64_t published() const;

    const Slot &slot(uint32_t index) const { return slots_[index]; }
    uint32_t size() const { return nr_; }

  private:
    struct Own {
        std::atomic<uint64_t> inside{0}; // bit L: may be inside of mirror L
        std::atomic<uint64_t> times{0}, reads{0};
    };

    Slot *slots_;
    std::unique_ptr<Own[]> own_;
    uint32_t nr_;
};

} // namespace us
