/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The loop of one ublk queue in the kernel (io_uring's struct_ops io_uring_bpf_ops): requests are fetched,
 * mapped, carried out and committed without a return to user space.
 *
 *     FETCH ──▶ begin ──walk──▶ pieces: READ_FIXED, WRITE_FIXED, FSYNC ──▶ the last one ended
 *                 │                                                          │       │
 *                 └────────────────── REDIRECT, failure ─────────────────────┘       ▼
 *                                         │ MSG_RING                           COMMIT_AND_FETCH ──▶ …
 *                                         ▼                                          ▲
 *                              the native engine's ring ──── MSG_RING, result ───────┘
 *
 * A request is here or at the executor, never at both. Whatever fails here is carried out again there, where
 * errors are told apart, logged and counted; so this program knows success and nothing else.
 *
 * It runs in one thread, with the ring's lock held: no two steps at once. Every index is masked or compared
 * although the table is ours: the verifier wants to see it, and so do we. */
#include "bpf/loop.h"
#include "bpf/kernel.h"

extern const volatile struct us_loop_config config;
/* Branches on layers that this stack has not are gone once the verifier has seen the frozen words. */
#define US_USES(type) (config.types >> (type)&1)

#include "bpf/map_request.h"

const volatile struct us_loop_config config = {};
const volatile struct us_loop_leaf leaves[US_MAX_LAYERS] = {};
const volatile struct us_table table = {};

struct us_loop_tag tags[US_LOOP_MAX_TAGS];
struct us_loop_counters counters;
struct us_head head;
struct us_walk walk;
struct us_piece piece;
struct us_live unused; /* where nothing has live words */

char _license[] SEC("license") = "Dual MIT/GPL";

/* Slot of the live file (targets/inflight.h), as far as this program writes it. */
struct slot {
    us_u64 sequence, offset, length;
    us_u32 root, op;
    us_u64 kernel_times, kernel_reads;
    us_u64 reserved[2];
};
_Static_assert(sizeof(struct slot) == 64, "a slot fills a cache line");
#define US_SLOT_FAST (1ULL << 63)

/* From the flag of a request to that of a write, in the upper half of an entry's word. */
#define FUA_TO_DSYNC 20
_Static_assert((us_u64)UBLK_IO_F_FUA << FUA_TO_DSYNC == (us_u64)RWF_DSYNC << 32,
               "one flag becomes the other");

/* One step's view of the ring. */
struct ring {
    struct iou_ctx *ctx;
    struct io_uring_sqe *sqes;
    us_u8 *words;
    us_u8 *region;
    us_u32 tail;   /* of the submission queue */
    us_u32 queued; /* entries that the kernel has not taken yet */
};

#define RING_BYTES (config.cq_cqes + config.cq_entries * sizeof(struct io_uring_cqe))
#define WORD(ring, at) (*(volatile us_u32 *)((ring)->words + (at)))

US_INLINE const struct us_table *us_table_of(void) {
    const struct us_table *constants = (const struct us_table *)&table;
    __asm__ volatile("" : "+r"(constants)); /* or the compiler takes the zeros above for the words */
    return constants;
}

US_INLINE struct us_loop_tag *tag_of(us_u32 tag) {
    return &tags[US_BOUND(tag, US_LOOP_MAX_TAGS)];
}

US_INLINE void submit(struct ring *r) {
    WORD(r, config.sq_tail) = r->tail;
    int taken = bpf_io_uring_submit_sqes(r->ctx, r->queued);
    if (taken > 0) r->queued -= (us_u32)taken;
}

/* First word of an entry. */
#define ENTRY(opcode, flags, file) ((opcode) | (us_u64)(flags) << 8 | (us_u64)(file) << 32)

/* A fresh entry, word by word as the kernel lays it out. Callers leave room. */
US_INLINE void enter(struct ring *r, us_u64 first, us_u64 off, us_u64 addr, us_u64 len_and_flags,
                     us_u64 user_data, us_u64 buffer, us_u64 command) {
    us_u64 *words = (us_u64 *)&r->sqes[r->tail & config.sq_mask];
    r->tail++;
    r->queued++;
    words[0] = first;
    words[1] = off;
    words[2] = addr;
    words[3] = len_and_flags;
    words[4] = user_data;
    words[5] = buffer;
    words[6] = command;
    words[7] = 0;
}

US_INLINE void commit(struct ring *r, us_u32 tag, us_u32 result) {
    counters.ended++;
    enter(r, ENTRY(IORING_OP_URING_CMD, IOSQE_FIXED_FILE, config.char_file), config.commit_op,
          tag | config.auto_buf_flags, 0, US_LOOP_USER_DATA(US_LOOP_FETCH, tag), 0,
          config.queue | (us_u64)tag << 16 | (us_u64)result << 32);
}

/* MSG_RING: a completion on the executor's ring, with that user_data and result. Rings cannot be registered
 * files. */
US_INLINE void tell_executor(struct ring *r, us_u64 its_user_data, us_u32 its_result, us_u64 own_user_data) {
    enter(r, ENTRY(IORING_OP_MSG_RING, IOSQE_CQE_SKIP_SUCCESS, counters.executor_ring), its_user_data,
          IORING_MSG_DATA, its_result, own_user_data, 0, 0);
}

US_INLINE void pass_on(struct ring *r, us_u32 tag, us_u32 reason) {
    tell_executor(r, counters.passed_base + tag * config.passed_stride, reason,
                  US_LOOP_USER_DATA(US_LOOP_PASSED, tag) | reason);
}

US_INLINE struct slot *slot_of(struct ring *r, us_u32 tag) {
    __asm__ volatile("" : "+r"(tag)); /* compared and used as one: the verifier has to see it */
    if (!config.tracked || tag >= config.depth) return NULL;
    return (struct slot *)(r->region + config.slots_offset + (us_u64)tag * sizeof(struct slot));
}

US_INLINE void publish(struct ring *r, us_u32 tag, us_u32 op, us_u64 offset, us_u64 length) {
    struct slot *slot = slot_of(r, tag);
    if (!slot) return;
    slot->offset = offset;
    slot->length = length;
    slot->root = config.root;
    slot->op = op;
    us_u64 times = slot->kernel_times + 1;
    slot->kernel_times = times;
    slot->kernel_reads += op == UBLK_IO_OP_READ;
    /* An exchange is a full barrier: live words read after it are not older than the slot. */
    __sync_lock_test_and_set(&slot->sequence, times | US_SLOT_FAST);
}

/* All pieces have ended. */
US_INLINE void finish(struct ring *r, us_u32 tag, struct us_loop_tag *t) {
    if (t->reason) {
        us_u32 reason = (t->reason - 1) & (US_LOOP_REASONS - 1);
        counters.passed[reason]++;
        pass_on(r, tag, reason);
        return;
    }
    if (config.tracked && t->tracked) {
        struct slot *slot = slot_of(r, tag);
        if (slot) __sync_lock_test_and_set(&slot->sequence, 0);
    }
    us_u64 length = t->length;
    counters.handled++;
    counters.bytes += length;
    commit(r, tag, (us_u32)length);
}

US_INLINE void place(struct ring *r, us_u32 tag, struct us_loop_tag *t, const struct us_piece *piece,
                     us_u32 fua) {
    us_u32 layer = US_BOUND(piece->layer, US_MAX_LAYERS);
    const volatile struct us_loop_leaf *leaf = &leaves[layer];
    struct us_loop_leaf_counters *c = &counters.leaves[layer];
    us_u64 user_data =
        US_LOOP_USER_DATA(US_LOOP_PIECE, tag) | (us_u64)layer << 48 | piece->length >> US_SECTOR_SHIFT;
    us_u64 file = (us_u64)leaf->file << 32 | (us_u64)IOSQE_FIXED_FILE << 8;

    if (t->op == US_OP_READ) {
        c->reads++;
        c->bytes_read += piece->length;
        us_u64 offset = leaf->access == US_LOOP_NOWHERE ? 0 : piece->offset;
        enter(r, file | IORING_OP_READ_FIXED, offset, piece->buffer, piece->length, user_data, tag, 0);
    } else if (t->op == US_OP_WRITE) {
        c->writes++;
        c->bytes_written += piece->length;
        if (leaf->access == US_LOOP_NOWHERE) return;
        if (leaf->async_bytes && piece->length >= leaf->async_bytes) file |= (us_u64)IOSQE_ASYNC << 8;
        enter(r, file | IORING_OP_WRITE_FIXED, piece->offset, piece->buffer,
              piece->length | (us_u64)fua << FUA_TO_DSYNC, user_data, tag, 0);
    } else {
        c->flushes++;
        if (!leaf->flush) return;
        enter(r, file | IORING_OP_FSYNC, 0, 0, (us_u64)IORING_FSYNC_DATASYNC << 32, user_data, 0, 0);
    }
    t->pending++;
}

/* So many always lead through so many pieces. */
#define PASSES (US_LOOP_MAX_PIECES * US_WALK_PASSES)

/* Whether one more piece may be placed; makes room for it. */
US_INLINE int room(struct ring *r, struct us_loop_tag *t) {
    if (t->pending > config.max_pieces) return 0;
    if (r->queued >= config.sq_entries) submit(r);
    return r->queued < config.sq_entries;
}

/* Places the head in full from where it fans out, or begins with a flush. 0, or the reason to give it up. */
US_INLINE us_u32 place_walked(struct ring *r, us_u32 tag, struct us_loop_tag *t, const struct us_live *live,
                              const struct us_words *words, us_u64 buffer, us_u32 fua) {
    us_walk_begin(&walk, head.layer, head.op, head.offset, head.length);
    walk.frames[0].buffer = buffer;
    bpf_repeat(PASSES) {
        int result = us_pass(&walk, live, words, &piece);
        if (result == US_WALK_ON) continue;
        if (result == US_WALK_END) return 0;
        if (result == US_WALK_REDIRECT) return 1 + US_LOOP_BY_LAYER;
        if (result != US_WALK_PIECE) return 1 + US_LOOP_BY_FAILURE;
        if (!room(r, t)) break;
        place(r, tag, t, &piece, fua);
    }
    return 1 + US_LOOP_BY_SIZE;
}

US_INLINE int at_leaf(void) {
    return leaves[US_BOUND(head.layer, US_MAX_LAYERS)].access != US_LOOP_NO_LEAF;
}

/* Head by head: what goes straight down to a leaf, as most requests do, needs no frames. */
US_INLINE void place_all(struct ring *r, us_u32 tag, struct us_loop_tag *t, us_u64 offset, us_u64 length,
                         us_u32 fua) {
    if (config.types <= US_LEAF_TYPES) { /* nothing but leaves: the root is one */
        struct us_piece whole = {config.root, offset, length, 0};
        place(r, tag, t, &whole, fua);
        return;
    }
    const struct us_live *live =
        config.shared ? (const struct us_live *)(r->region + config.live_offset) : &unused;
    const struct us_words *words =
        config.words_offset ? (const struct us_words *)(r->region + config.words_offset) : NULL;
    us_u64 done = 0;
    do {
        int result = US_WALK_ON;
        us_head_begin(&head, config.root, t->op, offset + done, length - done);
        while (!at_leaf() && US_MAY_GO_ON) {
            result = us_down(&head, live, words);
            if (result != US_WALK_ON) break;
        }
        if (result != US_WALK_ON && result != US_WALK_PIECE) {
            t->reason = 1 + (result == US_WALK_REDIRECT ? US_LOOP_BY_LAYER : US_LOOP_BY_FAILURE);
            return;
        }
        us_u32 reason = 0;
        if (!at_leaf()) {
            reason = place_walked(r, tag, t, live, words, done, fua);
        } else if (room(r, t)) {
            struct us_piece straight = {head.layer, head.offset, head.length, done};
            place(r, tag, t, &straight, fua);
        } else {
            reason = 1 + US_LOOP_BY_SIZE;
        }
        if (reason) {
            t->reason = (us_u8)reason;
            return;
        }
        done += head.length;
        if (done >= length) return;
    } while (US_MAY_GO_ON);
    t->reason = 1 + US_LOOP_BY_SIZE;
}

US_INLINE void refuse(struct ring *r, us_u32 tag, struct us_loop_tag *t, us_u32 reason) {
    t->reason = (us_u8)(1 + reason);
    finish(r, tag, t);
}

US_INLINE void begin(struct ring *r, us_u32 tag) {
    struct ublksrv_io_desc desc; /* but for its address, which zero copy has none of */
    struct us_loop_tag *t = tag_of(tag);
    counters.begun++;
    t->failed_leaves = 0;

    int unread = bpf_probe_read_user(&desc, offsetof(struct ublksrv_io_desc, addr),
                                     (void *)(counters.descriptors + tag * sizeof(desc))) != 0;
    if (unread) return refuse(r, tag, t, US_LOOP_BY_FAILURE);
    us_u32 op = desc.op_flags & 0xff;
    us_u64 offset = desc.start_sector << US_SECTOR_SHIFT;
    us_u64 length = (us_u64)desc.nr_sectors << US_SECTOR_SHIFT;
    int writes = op == UBLK_IO_OP_WRITE;
    if (op > UBLK_IO_OP_FLUSH || (writes && config.read_only)) return refuse(r, tag, t, US_LOOP_BY_OPERATION);
    if (op == UBLK_IO_OP_FLUSH) {
        offset = length = 0;
    } else if (desc.op_flags & UBLK_IO_F_NEED_REG_BUF) {
        return refuse(r, tag, t, US_LOOP_BY_BUFFER);
    } else if (offset > config.size_bytes || length > config.size_bytes - offset || length == 0) {
        return refuse(r, tag, t, US_LOOP_BY_OPERATION);
    }
    /* Writes alone have it. A number and no branch: the verifier would follow what comes after it twice. */
    us_u32 fua = desc.op_flags & UBLK_IO_F_FUA;
    if (config.pass_flushes && (fua || op == UBLK_IO_OP_FLUSH)) return refuse(r, tag, t, US_LOOP_BY_SYNC);
    t->length = length;
    t->pending = 1;
    t->op = (us_u16)op; /* enum us_op has the driver's numbers for these three */
    t->reason = 0;
    t->tracked = config.tracked && (writes || (config.tracks_reads && op == UBLK_IO_OP_READ));
    if (t->tracked) publish(r, tag, op, offset, length);
    place_all(r, tag, t, offset, length, fua);
    if (--t->pending == 0) finish(r, tag, t);
}

US_INLINE void piece_ended(struct ring *r, us_u64 user_data, us_u32 tag, __s32 result) {
    struct us_loop_tag *t = tag_of(tag);
    if (result != (__s32)((us_u32)user_data << US_SECTOR_SHIFT)) {
        if (result < 0 && result != -4 && result != -11) { /* EINTR, EAGAIN: tried again by the executor */
            if (!t->failed_leaves) t->error = result;
            t->failed_leaves |= 1ULL << (user_data >> 48 & (US_MAX_LAYERS - 1));
        }
        if (!t->reason) t->reason = 1 + US_LOOP_BY_FAILURE;
    }
    if (--t->pending == 0) finish(r, tag, t);
}

/* What is not a request's daily course. */
US_INLINE void occurred(struct ring *r, us_u64 user_data, us_u32 tag, __s32 result) {
    switch (user_data >> 56) {
    case US_LOOP_FETCH:
        if (result == -19) {
            if (!counters.aborted)
                tell_executor(r, counters.abort_data, 0, US_LOOP_USER_DATA(US_LOOP_TOLD, 0));
            counters.aborted = 1;
        } else {
            counters.lost = (us_u32)-result;
            tell_executor(r, counters.abort_data, (us_u32)result, US_LOOP_USER_DATA(US_LOOP_TOLD, 0));
        }
        break;
    case US_LOOP_DONE:
        commit(r, tag, (us_u32)result);
        break;
    case US_LOOP_STOP:
        counters.stopping = 1;
        break;
    case US_LOOP_PASSED:
        pass_on(r, tag, (us_u32)user_data);
        break;
    case US_LOOP_TOLD:
        tell_executor(r, counters.abort_data, -counters.lost, user_data);
        break;
    }
}

US_INLINE void completed(struct ring *r, us_u64 user_data, __s32 result) {
    us_u32 tag = (us_u32)(user_data >> 32) & 0xffff, kind = (us_u32)(user_data >> 56);
    if (kind == US_LOOP_PIECE) {
        piece_ended(r, user_data, tag, result);
    } else if (kind == US_LOOP_FETCH && result == 0) {
        /* Once stopping, what still comes stays unanswered: the driver issues it to the next server again. */
        if (!counters.stopping) begin(r, tag);
    } else {
        occurred(r, user_data, tag, result);
    }
}

/* Goes through what has come. Returns how many there were. */
US_INLINE us_u32 take(struct ring *r) {
    us_u32 head = WORD(r, config.cq_head), ready = WORD(r, config.cq_tail) - head;
    if (ready > config.cq_entries) ready = config.cq_entries;
    us_u32 end = head + ready;
    while (head != end && US_MAY_GO_ON) {
        if (r->queued + 2 > config.sq_entries) submit(r);
        if (r->queued + 2 > config.sq_entries) break;
        us_u32 at = head & config.cq_mask;
        struct io_uring_cqe *cqe = (void *)(r->words + config.cq_cqes + at * sizeof(*cqe));
        head++;
        completed(r, cqe->user_data, cqe->res);
    }
    WORD(r, config.cq_head) = head;
    return ready;
}

/* What completes while it is being submitted is gone through in the same step. */
#define ROUNDS 4

/* Whether to look again at once rather than to sleep. Sleeping and being woken costs more than a short wait,
 * and a long one is not worth a CPU: as KVM's halt polling does it (Documentation/virt/kvm/halt-polling.rst).
 */
US_INLINE int polls(us_u32 some) {
    if (!config.spin_ns) return 0;
    us_u64 now = bpf_ktime_get_ns();
    if (!some) {
        if (now - counters.last_work >= config.spin_ns) return 0;
        counters.spins++;
        return 1;
    }
    counters.last_wait = now - counters.last_work;
    counters.last_work = now;
    return !config.spin_adapts || counters.last_wait <= config.spin_ns;
}

/* requests: under way in this step. */
US_INLINE void tell_of_crowd(struct ring *r, us_u64 requests) {
    if (requests == 0 || r->queued >= config.sq_entries || !us_crowd_turn(&counters.crowd, requests)) return;
    tell_executor(r, counters.crowd_data, counters.crowd.crowded, US_LOOP_USER_DATA(US_LOOP_CROWD, 0));
    submit(r);
}

SEC("struct_ops.s/loop_step")
int BPF_PROG(loop_step, struct iou_ctx *io, struct iou_loop_params *params) {
    struct ring r = {.ctx = io};
    r.sqes =
        (void *)bpf_io_uring_get_region(io, IOU_REGION_SQ, config.sq_entries * sizeof(struct io_uring_sqe));
    r.words = bpf_io_uring_get_region(io, IOU_REGION_CQ, RING_BYTES);
    if (!r.sqes || !r.words) return IOU_LOOP_STOP;
    if (config.shared) {
        r.region = bpf_io_uring_get_region(io, IOU_REGION_MEM, config.region_bytes);
        if (!r.region) return IOU_LOOP_STOP;
    }
    counters.steps++;
    r.tail = WORD(&r, config.sq_tail);
    r.queued = r.tail - WORD(&r, config.sq_head); /* the first FETCHes are the server's own entries */

    if (r.queued) submit(&r);

    us_u64 ended = counters.ended;
    us_u32 some = 0;
    counters.rounds = ROUNDS;
    while (US_MAY_GO_ON) {
        us_u32 ready = take(&r);
        if (!ready) break;
        some = 1;
        if (r.queued) submit(&r);
        if (--counters.rounds == 0) break;
    }
    tell_of_crowd(&r, counters.begun - ended);
    if (counters.stopping && counters.begun == counters.ended && !r.queued) return IOU_LOOP_STOP;

    /* Entries that the kernel would not take now, for want of memory, are tried again without sleeping. */
    params->cq_wait_idx = WORD(&r, config.cq_head) + (r.queued || polls(some) ? 0 : 1);
    return IOU_LOOP_CONTINUE;
}

SEC(".struct_ops.link")
struct io_uring_bpf_ops loop = {
    .loop_step = (void *)loop_step,
};
