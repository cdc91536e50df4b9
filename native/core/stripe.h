/* stripe: chunks dealt out in turn, as device mapper's striped target and md raid0 with equal members.
 *
 *     chunk   0 1 2 3 4 5 ...      child = chunk % nr
 *     child   0 1 2 0 1 2 ...      its own chunk = chunk / nr
 *
 * param[0]: log2 of the chunk in bytes. */
#ifndef US_CORE_STRIPE_H
#define US_CORE_STRIPE_H

#include "step.h"

#define US_STRIPE_CHUNK_SHIFT 0

US_INLINE struct us_step us_stripe_map(us_u32 chunk_shift, us_u32 nr, us_u64 offset, us_u64 length) {
    us_u64 chunk = offset >> chunk_shift;
    us_u64 within = offset & ((1ULL << chunk_shift) - 1);
    us_u64 child_offset = ((chunk / nr) << chunk_shift) + within;

    return us_step_one((us_u32)(chunk % nr), child_offset, us_min(length, (1ULL << chunk_shift) - within),
                       length);
}

#endif
