// A queue whose fast path stays in the kernel: ring, program, and the thread that is inside of
// io_uring_enter.
//
//   loop thread      io_uring_enter, once; the program fetches, maps, carries out, commits
//   queue thread     the native engine as executor: takes what the program passes on, and hands back results
//
//       program ──MSG_RING──▶ executor's ring: a Completion (Inbox)
//       program ◀─MSG_RING─── pass_back(): US_LOOP_DONE, and stop(): US_LOOP_STOP
//
// The program alone commits: only the task that fetched a tag may (without UBLK_F_BATCH_IO).
#pragma once

#include <sched.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "engine/queue.h"
#include "frontends/ublk/kernel_program.h"
#include "frontends/ublk/kernel_ring.h"

namespace us::ublk {

struct DeviceFacts;

// When a loop looks again instead of sleeping.
enum class Polling { off, on, adaptive };

class KernelLoop {
  public:
    // Where the executor waits for what the program passes on: addresses of Completions.
    struct Inbox {
        uint64_t descriptors; // the queue's request descriptors, mapped
        uint64_t first_tag;   // of tag 0; its result: enum us_loop_reason
        uint64_t stride;      // from one tag's to the next one's
        uint64_t crowded;     // requests come in crowds (1), or no more (0)
        uint64_t aborted;     // the driver takes the device back (0), or a FETCH failed (-errno)
    };

    // Sets up the ring; the graph is open. Throws std::system_error.
    KernelLoop(Graph &graph, const DeviceFacts &facts, uint16_t queue, Polling polling, const Inbox &inbox);
    // Attaches the program: `kept` if it is made for the same, else one that is verified now, which takes a
    // while. Says whether it was `kept`. Any thread, once, while other loops load theirs. With the ring this
    // is all that needs rights or paths. Throws ProgramRefused or std::system_error.
    bool load(std::optional<VerifiedProgram> kept);
    // After load().
    const VerifiedProgram &program() const { return program_->verified(); }
    ~KernelLoop();
    KernelLoop(const KernelLoop &) = delete;
    KernelLoop &operator=(const KernelLoop &) = delete;

    // On the queue thread: starts the loop thread, which fetches every tag. `ended` runs there at the end.
    void start(Queue &executor, const cpu_set_t &cpus, std::function<void()> ended);
    // On the queue thread: the request is done, the program commits.
    void pass_back(Completion &sent, uint32_t tag, int32_t result);
    // On the queue thread, once: ends when nothing is in flight any more.
    void stop();
    void join();
    // On the queue thread.
    void schedule(bool crowded);

    // Leaves of which the program saw a failure that makes a flush, or a durable write, untrue.
    FailedSync failed_sync(uint32_t tag) const {
        return {program_->tag(tag).failed_leaves, program_->tag(tag).error};
    }

    const us_loop_counters &counters() const { return program_->counters(); }
    // io_uring_enter calls of the loop thread.
    uint64_t enters() const { return enters_.load(std::memory_order_relaxed); }
    bpf::Runs runs() const { return program_->runs(); }

  private:
    void run(const std::function<void()> &ended);
    void fetch_all();
    void message(Completion &sent, uint64_t user_data, int32_t result);

    const DeviceFacts &facts_;
    uint16_t queue_;
    std::unique_ptr<KernelRing> ring_;
    const us_table &table_;
    us_loop_config config_{};
    Inbox inbox_;
    std::vector<us_loop_leaf> leaves_;
    std::unique_ptr<KernelProgram> program_;
    Queue *executor_ = nullptr;
    uint32_t char_file_ = 0;
    Completion stop_sent_;
    std::atomic<uint64_t> enters_{0};
    std::thread thread_;
};

} // namespace us::ublk
