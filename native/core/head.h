/* The head of a request: how an engine that is asked again for the rest, and keeps nothing between two
 * questions, finds what it may place at once (ublk-bpf: queue_io_cmd_daemon(io, done)).
 *
 *     root      [offset ................................. length)
 *      └ stripe [head ....)                                        each step narrows the head
 *         └ mirror, a write: it goes to every child                … down to a leaf, or to a layer that fans
 * out
 *
 * A leaf is one piece. A layer that fans out is walked by walk.h, in full: bytes that have reached only some
 * members could not be told from bytes that have reached all. Asking again behind the head goes down the same
 * way, for every step answers the same of the rest as it does of the whole. So the pieces are those of one
 * walk, in its order; test/bpf proves it. */
#ifndef US_CORE_HEAD_H
#define US_CORE_HEAD_H

#include "walk.h"

struct us_head {
    us_u32 op;
    us_u32 layer;  /* where the head has come to */
    us_u32 levels; /* above that layer */
    us_u32 reserved;
    us_u64 offset; /* in that layer's bytes */
    us_u64 length; /* of the head */
};

US_INLINE void us_head_begin(struct us_head *head, us_u32 layer, us_u32 op, us_u64 offset, us_u64 length) {
    head->op = op;
    head->layer = layer;
    head->levels = 0;
    head->offset = offset;
    head->length = length;
}

/* One level down: US_WALK_ON, then US_WALK_PIECE where the head is to be walked, or else REDIRECT or BAD. */
US_INLINE enum us_walk_result us_head_down(struct us_head *head, const struct us_table *table,
                                           const struct us_live *live, const struct us_words *words) {
    us_u32 index = US_BOUND(head->layer, US_MAX_LAYERS);
    const struct us_layer *layer = &table->layers[index];

    if (layer->nr_children == 0 || head->op == US_OP_FLUSH) return US_WALK_PIECE;
    struct us_step step = us_map(table, live, words, index, head->op, head->offset, head->length);
    if (step.disposition == US_REDIRECT) return US_WALK_REDIRECT;
    if (step.nr_children != 1 || us_walk_skips(live, index, head->op, step.first_child)) return US_WALK_PIECE;
    if (step.n > head->length || step.n == 0 || step.first_child >= layer->nr_children) return US_WALK_BAD;
    if (++head->levels >= US_MAX_DEPTH) return US_WALK_BAD;

    head->layer = table->links[US_BOUND(layer->first_link + step.first_child, US_MAX_LINKS)].layer;
    head->offset = step.offset;
    head->length = step.n;
    return US_WALK_ON;
}

#endif
