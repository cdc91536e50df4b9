// How the kernel schedules the thread of a queue.
#pragma once

#include <pthread.h>

namespace us {

// Whether the thread, when it is woken, waits for the CPU rather than taking it (core/crowd.h). A thread with
// a policy that somebody chose for it, a real-time one say, keeps it. Any thread.
void schedule_for_crowds(pthread_t thread, bool crowded);

// What status calls it.
constexpr const char *scheduling_name(bool crowded) {
    return crowded ? "batch" : "normal";
}

} // namespace us
