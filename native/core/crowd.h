/* Whether requests come in crowds: then the thread that serves them had better not take the CPU from the task
 * that is still submitting, each time that it is woken, but come when that task is done or its time is over
 * (SCHED_BATCH, sched(7)). One after the other they want it at once.
 *
 *     turn with n requests     score + n - 2, from 0 to US_CROWD_FULL
 *     score full               crowded
 *     score 0                  no more
 *
 * So it is their mean that counts: of a crowd, too, most turns may see one alone. */
#ifndef US_CORE_CROWD_H
#define US_CORE_CROWD_H

#include "types.h"

#define US_CROWD_FULL 64

struct us_crowd {
    us_u32 score;
    us_u32 crowded;
};

/* requests: under way in this turn of the loop, 1 or more. Whether `crowded` has changed. */
US_INLINE int us_crowd_turn(struct us_crowd *crowd, us_u64 requests) {
    us_u64 score = crowd->score + requests;
    score = score > 2 ? score - 2 : 0;
    if (score > US_CROWD_FULL) score = US_CROWD_FULL;
    crowd->score = (us_u32)score;
    us_u32 crowded = score == US_CROWD_FULL ? 1 : score == 0 ? 0 : crowd->crowded;
    int changed = crowded != crowd->crowded;
    crowd->crowded = crowded;
    return changed;
}

#endif
