/* The walk: asks the layers step by step, depth first, and yields one leaf piece at a time.
 *
 *     root          frame 0: [offset, left) of the request that is still to be placed
 *      └ stripe     frame 1: the part that the current step gave to a child
 *         └ file    a leaf: the frame is the piece
 *
 * A frame that fans out (mirror write, flush) visits its children one by one with the same range. The order
 * of pieces is the same in every engine, since this is the only walker. It can be left after any piece and
 * gone on with later: all its state is in struct us_walk. */
#ifndef US_CORE_WALK_H
#define US_CORE_WALK_H

#include "map.h"

struct us_frame {
    us_u64 offset; /* next byte to place, in this layer's bytes */
    us_u64 left;   /* bytes not yet placed */
    us_u64 buffer; /* offset into the request's buffer of the next byte to place */
    us_u64 fan_offset, fan_bytes, fan_buffer;
    us_u16 layer;
    us_u16 fan_next, fan_end; /* children that the current step still has to reach */
    us_u16 fresh;             /* not asked yet: a flush has no bytes and is asked once */
};

struct us_walk {
    us_u32 op;
    us_u32 depth; /* frames in use; 0: the walk has ended */
    struct us_frame frames[US_MAX_DEPTH];
};

struct us_piece {
    us_u32 layer;  /* a leaf, or for US_WALK_REDIRECT the layer whose handler takes over */
    us_u64 offset; /* in that layer's bytes */
    us_u64 length;
    us_u64 buffer; /* offset into the request's buffer */
};

enum us_walk_result {
    US_WALK_END = 0,      /* every piece has been yielded */
    US_WALK_PIECE = 1,    /* `piece` is for a leaf */
    US_WALK_REDIRECT = 2, /* `piece` is for a handler; the walk goes on behind it */
    US_WALK_BAD = 3,      /* the table broke its promise: fail the request with EIO */
    US_WALK_ON = 4,       /* of us_walk_pass() alone: nothing to show yet, ask again */
};

US_INLINE void us_walk_push(struct us_walk *walk, us_u32 layer, us_u64 offset, us_u64 length, us_u64 buffer) {
    struct us_frame *frame = &walk->frames[US_BOUND(walk->depth, US_MAX_DEPTH)];
    frame->offset = offset;
    frame->left = length;
    frame->buffer = buffer;
    frame->layer = (us_u16)layer;
    frame->fan_next = frame->fan_end = 0;
    frame->fresh = 1;
    walk->depth++;
}

/* Start at any layer. The range must lie inside that layer (flush: 0, 0). */
US_INLINE void us_walk_begin(struct us_walk *walk, us_u32 layer, us_u32 op, us_u64 offset, us_u64 length) {
    walk->op = op;
    walk->depth = 0;
    us_walk_push(walk, layer, offset, length, 0);
}

/* Whether what goes to all children leaves this one out. */
US_INLINE int us_walk_skips(const struct us_live *live, us_u32 index, us_u32 op, us_u32 child) {
    return US_USES(US_TYPE_MIRROR) && op != US_OP_READ && op != US_OP_CACHE &&
           !(US_READ_ONCE(live->layers[index].writable) >> (child & 31) & 1);
}

/* Each pass pushes, pops or asks once: two per level are enough to reach the next piece, and a fan-out may
 * skip all but one of its children at each level. */
#define US_WALK_PASSES (US_MAX_DEPTH * (US_MAX_CHILDREN + 3))

/* One pass: what BPF's verifier can follow, which would never see the end of a whole walk. */
US_INLINE enum us_walk_result us_walk_pass(struct us_walk *walk, const struct us_table *table,
                                           const struct us_live *live, const struct us_words *words,
                                           struct us_piece *piece) {
    if (walk->depth == 0) return US_WALK_END;
    if (walk->depth > US_MAX_DEPTH) return US_WALK_BAD;

    struct us_frame *frame = &walk->frames[US_BOUND(walk->depth - 1, US_MAX_DEPTH)];
    us_u32 index = US_BOUND(frame->layer, US_MAX_LAYERS);
    const struct us_layer *layer = &table->layers[index];

    if (layer->nr_children == 0) {
        piece->layer = index;
        piece->offset = frame->offset;
        piece->length = frame->left;
        piece->buffer = frame->buffer;
        walk->depth--;
        return US_WALK_PIECE;
    }
    if (frame->fan_next < frame->fan_end) {
        us_u32 child = frame->fan_next++;
        if (us_walk_skips(live, index, walk->op, child)) return US_WALK_ON;
        us_u32 link = US_BOUND(layer->first_link + child, US_MAX_LINKS);
        if (walk->depth >= US_MAX_DEPTH) return US_WALK_BAD;
        us_walk_push(walk, table->links[link].layer, frame->fan_offset, frame->fan_bytes, frame->fan_buffer);
        return US_WALK_ON;
    }
    if (frame->left == 0 && !frame->fresh) {
        walk->depth--;
        return US_WALK_ON;
    }

    struct us_step step = us_map(table, live, words, index, walk->op, frame->offset, frame->left);
    frame->fresh = 0;
    if (step.disposition == US_REDIRECT) {
        piece->layer = index;
        piece->offset = frame->offset;
        piece->length = frame->left;
        piece->buffer = frame->buffer;
        walk->depth--;
        return US_WALK_REDIRECT;
    }
    if (step.n > frame->left || (step.n == 0 && walk->op != US_OP_FLUSH) ||
        step.first_child + step.nr_children > layer->nr_children)
        return US_WALK_BAD;
    frame->fan_offset = step.offset;
    frame->fan_bytes = step.n;
    frame->fan_buffer = frame->buffer;
    frame->fan_next = (us_u16)step.first_child;
    frame->fan_end = (us_u16)(step.first_child + step.nr_children);
    frame->offset += step.n;
    frame->left -= step.n;
    frame->buffer += step.n;
    return US_WALK_ON;
}

US_INLINE enum us_walk_result us_walk_next(struct us_walk *walk, const struct us_table *table,
                                           const struct us_live *live, const struct us_words *words,
                                           struct us_piece *piece) {
    for (us_u32 pass = 0; pass < US_WALK_PASSES; pass++) {
        enum us_walk_result result = us_walk_pass(walk, table, live, words, piece);
        if (result != US_WALK_ON) return result;
    }
    return US_WALK_BAD;
}

#endif
