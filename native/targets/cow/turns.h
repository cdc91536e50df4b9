// Who may work on which granules. Coroutines of any queue wait for one another here, without a thread
// waiting.
//
//     a change     has its granules to itself, from its copy-up to its bit
//     a read       takes no granules, for what it may read never changes under it without its own client's
//     doing a reset      has everything to itself: it waits for what has begun, and what comes later waits
//     for it
#pragma once

#include <coroutine>
#include <cstdint>
#include <list>
#include <mutex>

#include "targets/executor.h"

namespace us {

class Turns {
  public:
    // [start, end): granules to itself; an empty range: none. withdrawn: somebody would not wait for it.
    struct Turn {
        uint64_t start = 0, end = 0;
        bool everything = false;
        bool begun = false;
        bool withdrawn = false;
        std::coroutine_handle<> waiter{};
        Executor *executor = nullptr;
    };
    using Ticket = std::list<Turn>::iterator;

    // co_await begin(…) waits for the turn; end it with end().
    struct Begin {
        Turns &turns;
        Turn turn;
        Ticket ticket{};
        bool await_ready() const noexcept { return false; }
        bool await_suspend(std::coroutine_handle<> handle);
        Ticket await_resume() const noexcept { return ticket; }
    };
    Begin begin(Executor &executor, uint64_t start, uint64_t end) {
        return {*this, {start, end, false, false, false, {}, &executor}};
    }
    Begin begin_alone(Executor &executor) { return {*this, {0, 0, true, false, false, {}, &executor}}; }
    void end(Ticket ticket);

    // Any thread: turns with everything to themselves that have not begun do so at once, and find themselves
    // withdrawn: all they may do is end.
    void withdraw_alone();

  private:
    static bool collide(const Turn &a, const Turn &b);
    bool may_begin(Ticket ticket);

    std::mutex mutex_;
    std::list<Turn> turns_; // in the order in which they came
};

} // namespace us
