/* linear: children one after the other, as device mapper's linear target.
 *
 *     |<-- child 0 -->|<---- child 1 ---->|<- child 2 ->|
 *     0             start[1]            start[2]       size
 */
#ifndef US_CORE_LINEAR_H
#define US_CORE_LINEAR_H

#include "step.h"

/* links: this layer's own, ordered by start; links[0].start == 0; nr >= 1; offset < size. */
US_INLINE struct us_step us_linear_map(const struct us_link *links, us_u32 nr, us_u64 size, us_u64 offset,
                                       us_u64 length) {
    us_u32 child = 0;
    us_u64 start = 0, end = size;

    for (us_u32 c = 1; c < US_MAX_CHILDREN && c < nr; c++) {
        us_u64 next = links[c].start;
        if (next > offset) {
            end = next;
            break;
        }
        child = c;
        start = next;
    }
    return us_step_one(child, offset - start, us_min(length, end - offset), length);
}

#endif
