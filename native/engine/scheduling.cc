#include "engine/scheduling.h"

#include <sched.h>

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

} // namespace us
