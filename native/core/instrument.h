/* instrument: a layer that does something to some requests of its first child, and passes the others on
 * untouched.
 *
 *   live.gate            bit OP (enum us_op): requests of this operation are looked at
 *   live.window          [window_start, window_end): … if they touch it; a flush has no place and always does
 *
 * What is looked at is redirected to the layer's handler, which decides. While the gate is 0 an instrument
 * costs this step alone. Both words change while IO runs; a request that began before may still be treated as
 * before. */
#ifndef US_CORE_INSTRUMENT_H
#define US_CORE_INSTRUMENT_H

#include "step.h"

US_INLINE struct us_step us_instrument_map(const struct us_live_layer *live, us_u32 op, us_u64 offset,
                                           us_u64 length) {
    us_u32 looks = US_READ_ONCE(live->gate) >> (op & 31) & 1;
    if (op == US_OP_FLUSH) return looks ? us_step_redirect() : us_step_one(0, 0, 0, 0);
    if (looks && offset < US_READ_ONCE(live->window_end) &&
        offset + length > US_READ_ONCE(live->window_start))
        return us_step_redirect();
    return us_step_one(0, offset, length, length);
}

#endif
