#include "targets/cow/turns.h"

#include <algorithm>

namespace us {

bool Turns::collide(const Turn &a, const Turn &b) {
    return a.everything || b.everything || (a.start < b.end && b.start < a.end);
}

// Who came first goes first, whoever it is: nobody waits for ever.
bool Turns::may_begin(Ticket ticket) {
    return std::none_of(turns_.begin(), ticket,
                        [&](const Turn &earlier) { return collide(earlier, *ticket); });
}

bool Turns::Begin::await_suspend(std::coroutine_handle<> handle) {
    std::lock_guard lock(turns.mutex_);
    ticket = turns.turns_.insert(turns.turns_.end(), turn);
    ticket->begun = turns.may_begin(ticket);
    ticket->waiter = handle;
    return !ticket->begun;
}

void Turns::end(Ticket ticket) {
    std::lock_guard lock(mutex_);
    Turn ended = *ticket;
    Ticket next = turns_.erase(ticket);
    for (; next != turns_.end(); ++next) {
        if (next->begun || !collide(ended, *next) || !may_begin(next)) continue;
        next->begun = true;
        next->executor->resume_later(next->waiter);
    }
}

void Turns::withdraw_alone() {
    std::lock_guard lock(mutex_);
    for (Turn &turn : turns_) {
        if (!turn.everything || turn.begun) continue;
        turn.begun = turn.withdrawn = true;
        turn.executor->resume_later(turn.waiter);
    }
}

} // namespace us
