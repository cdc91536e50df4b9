#include "engine/scheduling.h"

#include <sched.h>
#include <sys/prctl.h>

namespace us {

void schedule_for_crowds(pthread_t thread, bool crowded) {
    int policy = 0;
    sched_param priority{};
    if (pthread_getschedparam(thread, &policy, &priority) != 0) return;
    if (policy != (crowded ? SCHED_OTHER : SCHED_BATCH)) return;
    // Where it is forbidden, all is as before, only slower.
    [[maybe_unused]] int error =
        pthread_setschedparam(thread, crowded ? SCHED_BATCH : SCHED_OTHER, &priority);
}

void sharpen_timers() {
    // Where it is forbidden, timers are only later.
    [[maybe_unused]] int error = prctl(PR_SET_TIMERSLACK, 1);
}

} // namespace us
