// Whose turn it is on which clusters of the guest: changes have them to themselves, reads share them. Who
// came first goes first, so that nobody waits for ever.
#pragma once

#include <algorithm>
#include <list>
#include <mutex>
#include <utility>

#include "targets/executor.h"

namespace us::qcow2 {

class Turns {
  public:
    struct Turn {
        uint64_t start = 0, end = 0; // clusters
        bool shared = false, begun = false;
        bool withdrawn = false; // somebody would not wait for it
        bool kept = false;      // of a turn on all clusters: it is too late for that
        Executor *executor = nullptr;
        std::coroutine_handle<> waiter{};
    };
    using Ticket = std::list<Turn>::iterator;

    // co_await begin(…) waits for the turn; end it with end().
    struct Begin {
        Turns &turns;
        Turn turn;
        Ticket ticket{};

        bool await_ready() const noexcept { return false; }
        bool await_suspend(std::coroutine_handle<> handle) {
            std::lock_guard lock(turns.mutex_);
            ticket = turns.turns_.insert(turns.turns_.end(), turn);
            ticket->begun = turns.may_begin(ticket);
            ticket->waiter = handle;
            return !ticket->begun;
        }
        Ticket await_resume() const noexcept { return ticket; }
    };
    Begin begin(Executor &executor, uint64_t start, uint64_t end, bool shared) {
        return {*this, {start, end, shared, false, false, false, &executor, {}}};
    }

    void end(Ticket ticket) {
        std::lock_guard lock(mutex_);
        Turn ended = *ticket;
        ended.withdrawn = false; // who came after it has waited for it
        for (Ticket next = turns_.erase(ticket); next != turns_.end(); ++next) {
            if (next->begun || !collide(ended, *next) || !may_begin(next)) continue;
            next->begun = true;
            next->executor->resume_later(next->waiter);
        }
    }

    // Of a turn on all clusters that has begun: from now on it cannot be withdrawn. False when it has been.
    bool keep(Ticket ticket) {
        std::lock_guard lock(mutex_);
        ticket->kept = true;
        return !ticket->withdrawn;
    }
    bool withdrawn(Ticket ticket) {
        std::lock_guard lock(mutex_);
        return ticket->withdrawn;
    }

    // Any thread: turns on all clusters that are not kept yet find themselves withdrawn, those that have not
    // begun at once: all they may do is end.
    void withdraw_whole() {
        std::lock_guard lock(mutex_);
        for (Turn &turn : turns_) {
            if (turn.kept || turn.withdrawn || turn.start != 0 || turn.end != UINT64_MAX) continue;
            turn.withdrawn = true;
            if (!std::exchange(turn.begun, true)) turn.executor->resume_later(turn.waiter);
        }
    }

  private:
    static bool collide(const Turn &a, const Turn &b) {
        if (a.withdrawn || b.withdrawn) return false;
        return a.start < b.end && b.start < a.end && !(a.shared && b.shared);
    }
    bool may_begin(Ticket ticket) {
        return std::none_of(turns_.begin(), ticket,
                            [&](const Turn &earlier) { return collide(earlier, *ticket); });
    }

    std::mutex mutex_;
    std::list<Turn> turns_; // in the order in which they came
};

} // namespace us::qcow2
