/* Engine ublk-bpf: requests of a ublk device are placed and carried out by the driver itself, through the
 * RFC's struct ublk_bpf_ops and its bpf-aio (ublk_rfc.h).
 *
 *     driver ──queue_io_cmd_daemon(io, done)──▶ head ──▶ pieces: one aio each ──▶ last one ended ──▶ complete
 *        ▲                                       │
 *        └──────── CONTINUE(n): done += n ───────┤ QUEUED: that was the rest
 *                                                └ REDIRECT: to the server
 *
 * Between two calls nothing of the walk is kept: `done` says it all (core/head.h). A tag counts its pieces,
 * and one more until the last call, so that it is completed once, behind them all.
 *
 * A redirect with done > 0: the driver cannot hand over a request of which a part is under way. It is
 * completed short instead, behind its pieces; the block layer takes what was done off it and queues the rest
 * again, which is then redirected with done == 0.
 *
 * What goes to the server from the start: mirrors, because a request whose piece has failed can only be
 * failed here, and because their writes need durable marks; instruments, because what they look at changes
 * while IO runs, and nothing is shared here; flushes, because bpf-aio syncs 4 GiB of a file at
 * most; all that is neither read nor write.
 *
 * queue_io_cmd, which runs in the thread that submits, is left out: bpf_aio_submit() takes a descriptor of
 * the running process, and in the daemon's thread alone these are the server's. */
#ifndef US_BPF_UBLK_QUEUE_H
#define US_BPF_UBLK_QUEUE_H

#include "bpf/ublk.h"
#include "bpf/ublk_rfc.h"

extern const volatile struct us_ublk_constants constants;
#define US_USES(type)                                                                                        \
    ((type) != US_TYPE_MIRROR && (type) != US_TYPE_INSTRUMENT && constants.types >> (type)&1)

#include "bpf/map_request.h"

const volatile struct us_ublk_constants constants SEC(".rodata.ublk") = {};
struct us_ublk_counters counters SEC(".bss.ublk");

struct us_ublk_tag tags[US_UBLK_MAX_TAGS];
struct us_plan plans[US_UBLK_MAX_QUEUES]; /* a queue's calls come from one thread */
struct us_live unused;                    /* no layer here has any: a format is the server's */

enum { EIO = 5, ENOMEM = 12, EINVAL = 22 };

US_INLINE const struct us_table *us_table_of(void) {
    const struct us_table *own = (const struct us_table *)&constants.table;
    __asm__ volatile("" : "+r"(own)); /* or the compiler takes the zeros above for the words */
    return own;
}

US_INLINE us_u32 tag_number(const struct ublk_bpf_io *io) {
    return (us_u32)ublk_bpf_get_queue_id(io) * constants.depth + (us_u32)ublk_bpf_get_io_tag(io);
}

US_INLINE struct us_ublk_tag *tag_of(const struct ublk_bpf_io *io) {
    return &tags[US_BOUND(tag_number(io), US_UBLK_MAX_TAGS)];
}

/* One of what was pending has ended: a piece, or the calls. */
US_INLINE void ended(const struct ublk_bpf_io *io, struct us_ublk_tag *t) {
    if (__sync_sub_and_fetch(&t->pending, 1) != 0) return;
    us_u32 error = US_READ_ONCE(t->error);
    __sync_fetch_and_add(&counters.handled, 1);
    if (error) __sync_fetch_and_add(&counters.failed, 1);
    ublk_bpf_complete_io(io, error ? -(int)error : (int)t->bytes);
}

US_INLINE void fail(struct us_ublk_tag *t, long result) {
    t->error = result < 0 ? (us_u32)-result : EIO;
}

/* Starts one piece. What cannot be started fails the request once the pieces under way have ended. */
US_INLINE void submit(struct ublk_bpf_io *io, struct us_ublk_tag *t, us_u32 op, const struct us_piece *piece,
                      us_u64 buffer, us_u32 io_flags) {
    const volatile struct us_ublk_leaf *leaf = &constants.leaves[US_BOUND(piece->layer, US_MAX_LAYERS)];
    int writes = op == US_OP_WRITE;
    us_u64 offset = leaf->nowhere ? 0 : piece->offset;
    us_u32 bytes = (us_u32)piece->length;
    if (writes && leaf->nowhere) return;

    struct bpf_aio *aio = bpf_aio_alloc_sleepable(writes ? BPF_AIO_OP_FS_WRITE : BPF_AIO_OP_FS_READ, 0);
    if (!aio) return fail(t, -ENOMEM);
    int result = ublk_bpf_attach_and_prep_aio(io, (us_u32)buffer, bytes, aio);
    if (result < 0) {
        bpf_aio_release(aio);
        return fail(t, result);
    }
    __sync_fetch_and_add(&t->pending, 1);
    __sync_fetch_and_add(&counters.pieces, 1);
    result = bpf_aio_submit(aio, (int)leaf->file, (__s64)offset, bytes, io_flags);
    if (result >= 0) return;
    fail(t, result); /* nothing was started, and nobody calls back */
    ublk_bpf_dettach_and_complete_aio(aio);
    bpf_aio_release(aio);
    __sync_fetch_and_sub(&t->pending, 1); /* the calls' own is still there */
}

US_INLINE ublk_bpf_return_t redirect(const struct ublk_bpf_io *io, struct us_ublk_tag *t, us_u64 done) {
    if (done == 0) {
        __sync_fetch_and_add(&counters.redirected, 1);
    } else {
        __sync_fetch_and_add(&counters.cut, 1);
        t->bytes = done;
        ended(io, t);
    }
    return ublk_bpf_return_val(UBLK_BPF_IO_REDIRECT, 0);
}

US_INLINE ublk_bpf_return_t queue_request(struct ublk_bpf_io *io, us_u32 done) {
    struct us_ublk_tag *t = tag_of(io);
    us_u32 queue = (us_u32)ublk_bpf_get_queue_id(io);
    const struct ublksrv_io_desc *iod = ublk_bpf_get_iod(io);
    if (!iod) return redirect(io, t, done);

    us_u32 op = iod->op_flags & 0xff;
    us_u64 offset = iod->start_sector << US_SECTOR_SHIFT;
    us_u64 length = (us_u64)iod->nr_sectors << US_SECTOR_SHIFT;
    /* enum us_op has the driver's numbers for these two. */
    if (op > UBLK_IO_OP_WRITE || (op == UBLK_IO_OP_WRITE && constants.read_only) ||
        queue >= US_UBLK_MAX_QUEUES || tag_number(io) >= US_UBLK_MAX_TAGS || done >= length ||
        offset > constants.size_bytes || length > constants.size_bytes - offset)
        return redirect(io, t, done);

    if (done == 0) {
        t->bytes = length;
        t->error = 0;
        t->pending = 1;
    }
    struct us_plan *plan = &plans[US_BOUND(queue, US_UBLK_MAX_QUEUES)];
    us_head_begin(&plan->head, constants.root, op, offset + done, length - done);
    int reason = us_map_head(plan, &unused, NULL);
    if (reason == US_PLAN_BAD) {
        fail(t, -EIO);
        ended(io, t);
        return ublk_bpf_return_val(UBLK_BPF_IO_QUEUED, 0);
    }
    if (reason != US_PLAN_PLACED) return redirect(io, t, done);

    us_u32 i, nr = plan->nr_pieces, io_flags = iod->op_flags & UBLK_IO_F_FUA ? IOCB_DSYNC : 0;
    us_u64 n = plan->head.length;
    bpf_for(i, 0, nr) {
        const struct us_piece *piece = &plan->pieces[US_BOUND(i, US_PLAN_PIECES)];
        submit(io, t, op, piece, done + piece->buffer, io_flags);
    }
    if (n != length - done) return ublk_bpf_return_val(UBLK_BPF_IO_CONTINUE, n);
    ended(io, t);
    return ublk_bpf_return_val(UBLK_BPF_IO_QUEUED, 0);
}

US_INLINE void piece_ended(struct bpf_aio *aio, long result) {
    struct ublk_bpf_io *io = ublk_bpf_acquire_io_from_aio(aio);
    if (io) {
        struct us_ublk_tag *t = tag_of(io);
        if (result != (long)aio->bytes) fail(t, result);
        ended(io, t);
        ublk_bpf_release_io_from_aio(io);
    }
    ublk_bpf_dettach_and_complete_aio(aio);
    bpf_aio_release(aio);
}

#endif
