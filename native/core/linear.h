/* linear: children one after the other, as device mapper's linear target.
 *
 *     |<-- child 0 -->|<---- child 1 ---->|<- child 2 ->|
 *     0             start[1]            start[2]       size
 */
#ifndef US_CORE_LINEAR_H
#define US_CORE_LINEAR_H

#include "step.h"

/* links: the table's, this layer's own from `first` on, ordered by start, the first at 0. nr >= 1; offset <
 * size; all below 2^63. */
US_INLINE struct us_step us_linear_map(const struct us_link *links, us_u32 first, us_u32 nr, us_u64 size,
                                       us_u64 offset, us_u64 length) {
    us_u32 child = 0;

    /* The last start at or before the offset, by halving. Without a branch: each would double what BPF's
     * verifier has to follow. */
    for (us_u32 half = US_MAX_CHILDREN / 2; half; half /= 2) {
        us_u32 next = child + half;
        us_u64 begins = links[US_BOUND(first + next, US_MAX_LINKS)].start;
        us_u64 is_child = ((us_u64)next - nr) >> 63, reached = ~(offset - begins) >> 63;
        child += half * (us_u32)(is_child & reached);
    }
    us_u64 start = links[US_BOUND(first + child, US_MAX_LINKS)].start;
    us_u64 end = child + 1 < nr ? links[US_BOUND(first + child + 1, US_MAX_LINKS)].start : size;
    return us_step_one(child, offset - start, us_min(length, end - offset), length);
}

#endif
