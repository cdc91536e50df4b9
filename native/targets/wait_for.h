// A bounded wait for somebody else to let go, with growing pauses: short at first, since a dead server's last
// requests usually end within a millisecond.
#pragma once

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>

#include "targets/target.h"

namespace us {

// Calls attempt() until it answers something else than `busy` or the time is over; returns its last answer.
template <typename Attempt>
int wait_while(int busy, const OpenContext &context, const std::string &what, Attempt attempt) {
    using clock = std::chrono::steady_clock;
    auto begin = clock::now();
    auto end = begin + std::chrono::milliseconds(context.lock_wait_ms);
    long pause_us = 500;
    bool told = false;
    for (;;) {
        int result = attempt();
        if (result != busy) {
            if (told && result == 0) context.notice("no longer waiting for " + what);
            return result;
        }
        auto now = clock::now();
        if (now >= end) return result;
        if (!told && now - begin > std::chrono::milliseconds(100)) {
            told = true;
            context.notice("waiting for " + what + ", at most " + std::to_string(context.lock_wait_ms) +
                           " ms");
        }
        timespec pause{0, pause_us * 1000};
        nanosleep(&pause, nullptr);
        pause_us = std::min(pause_us * 2, 20000L);
    }
}

} // namespace us
