// What a full handler may do: all of it on the queue thread that it runs on, unless it says otherwise.
#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>

#include "targets/inflight.h"
#include "targets/io.h"
#include "targets/task.h"

namespace us {

// One careful execution: which in-flight slot stands for it, if any.
struct Run {
    Inflight *inflight = nullptr; // nullptr: nothing that changes while it runs needs to know of it
    uint32_t slot = 0;

    void enter(uint32_t layer) const {
        if (inflight) inflight->enter(slot, layer);
    }
    void leave(uint32_t layer) const {
        if (inflight) inflight->leave(slot, layer);
    }
};

class Executor {
  public:
    virtual ~Executor() = default;

    // Carries out an operation on any layer, step by step. `run` must outlive the task.
    virtual Task<IoResult> execute(uint32_t layer, LeafIo io, const Run &run) = 0;

    // Runs fn, which may block, on the helper thread; one after the other for the whole server. fn's result.
    // Give it a named function: g++ 12 destroys a lambda twice that is a temporary of the awaiting
    // expression.
    virtual Task<int> offload(std::function<int()> fn) = 0;

    // Begins work that nobody awaits. The queue does not end before it; it must end soon after stopping() is
    // true.
    virtual void spawn(Task<void> work) = 0;

    // False when the queue stops: at once then.
    virtual Task<bool> pause(uint64_t nanoseconds) = 0;

    // Until `end` of the steady clock, in its nanoseconds, or until somebody rings. Pauses of one queue end
    // in the order of their ends, equal ones in the order in which they began. alarm: an address that is the
    // caller's own, not yet used by another pause of this queue. False as pause().
    virtual Task<bool> pause_until(uint64_t end, const void *alarm) = 0;

    // Any thread: ends the pause of this alarm, if there is one when the queue's thread hears it.
    virtual void ring(const void *alarm) = 0;

    // Any thread: resumes a coroutine of this queue.
    virtual void resume_later(std::coroutine_handle<> handle) = 0;

    virtual bool stopping() const = 0;

    // Of the queue whose thread this is.
    static inline thread_local Executor *of_this_thread = nullptr;
};

} // namespace us
