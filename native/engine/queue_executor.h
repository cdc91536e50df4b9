// The executor of one queue: coroutines on its thread, leaf operations on its ring.
#pragma once

#include <chrono>
#include <map>
#include <unordered_map>

#include "engine/bounce.h"
#include "targets/executor.h"

namespace us {

class Queue;

class QueueExecutor : public Executor {
  public:
    explicit QueueExecutor(Queue &queue);
    ~QueueExecutor() override;

    Task<IoResult> execute(uint32_t layer, LeafIo io, const Run &run) override;
    Task<int> offload(std::function<int()> fn) override;
    void spawn(Task<void> work) override;
    Task<bool> pause(uint64_t nanoseconds) override;
    Task<bool> pause_until(uint64_t end, const void *alarm) override;
    void ring(const void *alarm) override;
    void resume_later(std::coroutine_handle<> handle) override;
    bool stopping() const override;

    // ---- for the queue's loop
    // Nanoseconds until the first pause is over, at least 0; -1 when there is none.
    int64_t next_pause_end() const;
    // Resumes those whose time has come, or all when the queue stops.
    void end_pauses();

  private:
    using Clock = std::chrono::steady_clock;

    void pass_read_only(uint32_t &layer, LeafIo &io);
    Task<IoResult> execute_leaf(uint32_t layer, LeafIo io);
    Task<IoResult> execute_bounced(uint32_t layer, LeafIo io, const Run &run);
    Task<IoResult> execute_mapping(uint32_t layer, LeafIo io, const Run &run);
    Task<IoResult> flush_children(uint32_t layer, LeafIo io, const Run &run);

    struct Pause {
        std::coroutine_handle<> handle;
        const void *alarm; // nullptr: nobody rings
    };
    using Pauses = std::multimap<Clock::time_point, Pause>;
    struct Pausing; // what a coroutine awaits

    Task<void> counted(Task<void> work);
    void begin_pause(Clock::time_point end, const Pause &pause);

    Queue &queue_;
    Bounce bounce_;
    Pauses pauses_;
    std::unordered_map<const void *, Pauses::iterator> alarms_;
};

} // namespace us
