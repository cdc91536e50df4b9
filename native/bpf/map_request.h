/* What BPF engines do with a request, whoever asks: the functions that the verifier follows once each, with
 * whatever words, rather than for every turn of the loops around them.
 *
 *   us_pass()       one pass of the walk                     for an engine that walks a request to its end
 *   us_map_head()   the pieces of the head of a request      for one that is asked again for the rest
 *
 * The program that includes this says, before, where its table lies: us_table_of(). */
#ifndef US_BPF_MAP_REQUEST_H
#define US_BPF_MAP_REQUEST_H

#include "bpf/kernel.h"
#include "core/head.h"

/* Of one head at most. More of them redirect the request. */
#define US_PLAN_PIECES 64 /* a power of two */
/* So many always lead through so many pieces. */
#define US_PLAN_PASSES (US_PLAN_PIECES * US_WALK_PASSES)

enum us_plan_reason {
    US_PLAN_PLACED = 0,   /* QUEUED or CONTINUE */
    US_PLAN_BY_LAYER = 1, /* a layer left the fast path */
    US_PLAN_BY_SIZE = 2,  /* more pieces than fit */
    US_PLAN_BAD = 3,      /* the table broke its promise: fail the request */
};

/* What a head becomes. Nothing of it is under way before all of it is known: a redirect finds a request that
 * has not been begun. */
struct us_plan {
    struct us_head head;
    struct us_walk walk;
    struct us_piece piece; /* the one that us_pass() found last */
    us_u32 reason;         /* enum us_plan_reason */
    us_u32 nr_pieces;
    struct us_piece pieces[US_PLAN_PIECES];
};

US_INLINE const struct us_table *us_table_of(void);

__noinline __weak int us_pass(struct us_walk *walk, const struct us_live *live, const struct us_words *words,
                              struct us_piece *piece) {
    if (!walk || !live || !piece) return US_WALK_BAD;
    return us_walk_pass(walk, us_table_of(), live, words, piece);
}

__noinline __weak int us_down(struct us_head *head, const struct us_live *live,
                              const struct us_words *words) {
    if (!head || !live) return US_WALK_BAD;
    return us_head_down(head, us_table_of(), live, words);
}

US_INLINE us_u32 us_plan_ended(int result) {
    return result == US_WALK_END        ? US_PLAN_PLACED
           : result == US_WALK_REDIRECT ? US_PLAN_BY_LAYER
                                        : US_PLAN_BAD;
}

/* Plans the head of what us_head_begin() was told; afterwards head.length says how much that is. */
__noinline __weak int us_map_head(struct us_plan *plan, const struct us_live *live,
                                  const struct us_words *words) {
    if (!plan || !live) return US_PLAN_BAD;
    int result = US_WALK_ON;
    plan->nr_pieces = 0;
    plan->reason = US_PLAN_BY_SIZE;
    bpf_repeat(US_MAX_DEPTH + 1) {
        result = us_down(&plan->head, live, words);
        if (result != US_WALK_ON) break;
    }
    if (result != US_WALK_PIECE) return plan->reason = us_plan_ended(result);

    us_walk_begin(&plan->walk, plan->head.layer, plan->head.op, plan->head.offset, plan->head.length);
    bpf_repeat(US_PLAN_PASSES) {
        result = us_pass(&plan->walk, live, words, &plan->piece);
        if (result == US_WALK_ON) continue;
        if (result != US_WALK_PIECE) return plan->reason = us_plan_ended(result);
        us_u32 at = plan->nr_pieces;
        if (at >= US_PLAN_PIECES) break;
        plan->pieces[US_BOUND(at, US_PLAN_PIECES)] = plan->piece;
        plan->nr_pieces = at + 1;
    }
    return plan->reason;
}

#endif
