/* The contract of the IO path: what a layer answers when it is asked to place the head of a request.
 *
 *     QUEUED(n)    these n bytes go to the children named, and that ends the request (n == length)
 *     CONTINUE(n)  the same, and ask again for the rest: this is the split (UBLK_BPF_IO_CONTINUE)
 *     REDIRECT     not on the fast path: a full handler in user space takes the request
 *
 * A step is pure: constant table, live words, operation and range in, answer out. It maps the head and lets
 * the caller loop. Dispositions are those of the ublk-bpf RFC (Documentation/block/ublk.rst, "UBLK-BPF
 * support"). */
#ifndef US_CORE_STEP_H
#define US_CORE_STEP_H

#include "table.h"

enum us_disposition { US_QUEUED = 0, US_CONTINUE = 1, US_REDIRECT = 2 };

struct us_step {
    us_u32 disposition;
    us_u32 first_child; /* index among the layer's own children */
    us_u32 nr_children; /* more than one: the same bytes to each (mirror write, flush) */
    us_u64 n;           /* bytes placed; 0 only for a flush */
    us_u64 offset;      /* on the child or children */
};

/* n bytes of `length` to one child. */
US_INLINE struct us_step us_step_one(us_u32 child, us_u64 offset, us_u64 n, us_u64 length) {
    struct us_step s = {n == length ? US_QUEUED : US_CONTINUE, child, 1, n, offset};
    return s;
}

/* All of `length` to every child. */
US_INLINE struct us_step us_step_all(us_u32 nr_children, us_u64 offset, us_u64 length) {
    struct us_step s = {US_QUEUED, 0, nr_children, length, offset};
    return s;
}

US_INLINE struct us_step us_step_redirect(void) {
    struct us_step s = {US_REDIRECT, 0, 0, 0, 0};
    return s;
}

US_INLINE us_u64 us_min(us_u64 a, us_u64 b) {
    return a < b ? a : b;
}

#endif
