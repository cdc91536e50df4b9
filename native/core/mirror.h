/* mirror: every child holds the same bytes.
 *
 *   read    one readable child, picked by a hash of (offset >> US_MIRROR_BALANCE_SHIFT): pure, and two reads
 * of the same place never alternate between members write   every writable child, once the mirror is marked
 * dirty (US_LIVE_WRITE_OPEN) and outside of the window that a resync is copying; else REDIRECT, and the
 * handler marks or waits flush   every writable child, unless a failure is not on record
 *
 * Invariants (kept by targets/mirror): readable ⊆ writable, readable ≠ 0. */
#ifndef US_CORE_MIRROR_H
#define US_CORE_MIRROR_H

#include "step.h"

/* The unit of balancing, and of copying. The simulator of test/torture scales the mirror down by it. */
#ifndef US_MIRROR_BALANCE_SHIFT
#define US_MIRROR_BALANCE_SHIFT 20
#endif

/* Fibonacci hashing: neighbours spread evenly (Knuth, The Art of Computer Programming, vol. 3, section 6.4).
 */
US_INLINE us_u32 us_mirror_hash(us_u64 offset) {
    return (us_u32)(((offset >> US_MIRROR_BALANCE_SHIFT) * 0x9E3779B97F4A7C15ULL) >> 33);
}

/* Set bits, by adding neighbours in parallel (Warren, Hacker's Delight, section 5-1). */
US_INLINE us_u32 us_mirror_count(us_u32 set) {
    set -= set >> 1 & 0x55555555;
    set = (set & 0x33333333) + (set >> 2 & 0x33333333);
    set = (set + (set >> 4)) & 0x0f0f0f0f;
    return set * 0x01010101 >> 24;
}

/* The child whose bit is the k-th set one of `set`, by halving; US_MAX_CHILDREN when there are fewer. The
 * number of turns is a constant: of a loop that ends by k, newer compilers leave the verifier no bound. */
US_INLINE us_u32 us_mirror_nth(us_u32 set, us_u32 k) {
    us_u32 at = 0;
    for (us_u32 half = US_MAX_CHILDREN / 2; half; half /= 2) {
        us_u32 low = us_mirror_count(set & ((1u << half) - 1));
        us_u32 above = 1 - (us_u32)(((us_u64)k - low) >> 63); /* k >= low: it is not among the low ones */
        k -= low & -above;
        at += half & -above;
        set >>= half & -above;
    }
    return at + US_MAX_CHILDREN * (1 - (set & 1));
}

US_INLINE struct us_step us_mirror_map(const struct us_live_layer *live, us_u32 nr, us_u32 op, us_u64 offset,
                                       us_u64 length) {
    /* A fan-out that reached nobody would be a write acknowledged and lost. */
    if (op != US_OP_READ && op != US_OP_CACHE && US_READ_ONCE(live->writable) == 0) return us_step_redirect();
    if (op == US_OP_FLUSH) {
        if (US_READ_ONCE(live->gate) & US_LIVE_UNRECORDED) return us_step_redirect();
        return us_step_all(nr, 0, 0);
    }

    if (us_op_writes(op)) {
        if (!(US_READ_ONCE(live->gate) & US_LIVE_WRITE_OPEN)) return us_step_redirect();
        us_u64 window_start = US_READ_ONCE(live->window_start), window_end = US_READ_ONCE(live->window_end);
        if (offset < window_end && offset + length > window_start) return us_step_redirect();
        return us_step_all(nr, offset, length);
    }

    us_u32 readable = US_READ_ONCE(live->readable);
    us_u32 choices = us_mirror_count(readable);
    if (choices == 0) return us_step_redirect();
    us_u32 child = us_mirror_nth(readable, choices == 1 ? 0 : us_mirror_hash(offset) % choices);
    us_u64 within = offset & ((1ULL << US_MIRROR_BALANCE_SHIFT) - 1);
    us_u64 n = choices == 1 ? length : us_min(length, (1ULL << US_MIRROR_BALANCE_SHIFT) - within);
    return us_step_one(child, offset, n, length);
}

#endif
