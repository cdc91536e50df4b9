/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The BPF engines without a device: what they do with a request, run by BPF_PROG_TEST_RUN under the real
 * verifier and JIT, on any kernel that can (test/bpf/differential).
 *
 *   walk_requests   as the loop of io_uring walks one (loop.bpf.c)
 *   map_heads       as the driver of ublk-bpf asks for one, head by head (ublk.bpf.c): with the driver's own
 *                   loop of CONTINUE, and its checks, around the program's function
 *
 * Both take a batch of requests from the map and put the pieces beside it. Tables come frozen, as an engine
 * has its own, or from the map, where a batch goes through many without loading a program for each. */
#include "bpf/walk.h"
#include "bpf/kernel.h"
#include "bpf/ublk_rfc.h"

extern const volatile struct us_run_constants constants;
#define US_USES(type) (constants.types >> (type)&1)

#include "bpf/map_request.h"

/* Sections of their own, each one struct: the test finds them without asking for offsets. */
const volatile struct us_run_constants constants SEC(".rodata.run") = {};
struct us_run run SEC(".bss.run");

struct us_plan plan;
us_u32 chosen; /* table of the request at hand */
us_u32 used;   /* of pieces[] */

char _license[] SEC("license") = "Dual MIT/GPL";

US_INLINE const struct us_table *us_table_of(void) {
    const struct us_table *own = (const struct us_table *)&constants.table;
    __asm__ volatile("" : "+r"(own)); /* or the compiler takes the zeros above for the words */
    return constants.frozen ? own : &run.tables[US_BOUND(chosen, US_RUN_TABLES)];
}

/* The request of that number, its answer still empty. */
US_INLINE struct us_run_request *take(us_u32 number) {
    struct us_run_request *asked = &run.requests[US_BOUND(number, US_RUN_REQUESTS)];
    chosen = asked->table;
    asked->first_piece = used;
    asked->nr_pieces = 0;
    asked->calls = 0;
    return asked;
}

US_INLINE int put(struct us_run_request *asked, const struct us_piece *piece, us_u64 done, int redirected) {
    us_u32 at = used;
    if (at >= US_RUN_PIECES || asked->nr_pieces >= asked->room) return 0;
    struct us_run_piece *out = &run.pieces[US_BOUND(at, US_RUN_PIECES)];
    out->offset = piece->offset;
    out->length = piece->length;
    out->buffer = done + piece->buffer;
    out->layer = piece->layer;
    out->redirected = redirected;
    asked->nr_pieces++;
    used = at + 1;
    return 1;
}

US_INLINE us_u32 walk_request(struct us_run_request *asked, const struct us_live *live) {
    us_u32 idle = 0; /* passes since the last piece, bounded as in us_walk_next() */
    us_walk_begin(&plan.walk, asked->root, asked->op, asked->offset, asked->length);
    bpf_repeat(1 << 20) {
        int result = us_pass(&plan.walk, live, &run.words, &plan.piece);
        if (result == US_WALK_END) return US_RUN_END;
        if (result == US_WALK_BAD) return US_RUN_BAD;
        if (result == US_WALK_ON) {
            if (++idle >= US_WALK_PASSES) return US_RUN_BAD;
            continue;
        }
        idle = 0;
        run.counters.walk_pieces++;
        if (!put(asked, &plan.piece, 0, result == US_WALK_REDIRECT)) return US_RUN_FULL;
    }
    return US_RUN_FULL;
}

SEC("syscall")
int walk_requests(struct us_run_batch *batch) {
    us_u32 nr = batch->nr_requests, i;
    used = 0;
    bpf_for(i, 0, nr) {
        struct us_run_request *asked = take(i);
        run.counters.walks++;
        asked->result = walk_request(asked, &run.lives[US_BOUND(chosen, US_RUN_TABLES)]);
    }
    return 0;
}

/* What ublk.bpf.c answers, with the pieces written down instead of submitted. */
US_INLINE ublk_bpf_return_t queue_io_cmd(struct us_run_request *asked, const struct us_live *live,
                                         us_u64 done) {
    us_u64 left = asked->length - done;
    run.counters.head_calls++;
    asked->calls++;
    us_head_begin(&plan.head, asked->root, asked->op, asked->offset + done, left);
    if (us_map_head(&plan, live, &run.words) != US_PLAN_PLACED)
        return ublk_bpf_return_val(UBLK_BPF_IO_REDIRECT, 0);
    us_u32 i, nr = plan.nr_pieces;
    bpf_for(i, 0, nr) {
        run.counters.head_pieces++;
        if (!put(asked, &plan.pieces[US_BOUND(i, US_PLAN_PIECES)], done, 0)) break;
    }
    us_u64 n = plan.head.length;
    return n == left ? ublk_bpf_return_val(UBLK_BPF_IO_QUEUED, 0)
                     : ublk_bpf_return_val(UBLK_BPF_IO_CONTINUE, n);
}

/* The driver of the RFC: ublk_run_bpf_handler(). */
US_INLINE us_u32 run_handler(struct us_run_request *asked, const struct us_live *live) {
    us_u64 done = 0, total = asked->length;
    bpf_repeat(1 << 20) {
        ublk_bpf_return_t answer = queue_io_cmd(asked, live, done);
        us_u64 bytes = answer & ((1ULL << UBLK_BPF_DISPOSITION_SHIFT) - 1);
        if (plan.reason == US_PLAN_BAD) return US_RUN_BAD;
        switch (answer >> UBLK_BPF_DISPOSITION_SHIFT) {
        case UBLK_BPF_IO_QUEUED:
            return US_RUN_END;
        case UBLK_BPF_IO_REDIRECT:
            return US_RUN_REDIRECT;
        case UBLK_BPF_IO_CONTINUE:
            break;
        default:
            return US_RUN_REFUSED;
        }
        if (bytes % US_SECTOR_BYTES || !bytes || bytes > total - done) return US_RUN_REFUSED;
        done += bytes;
        if (done >= total) return US_RUN_END;
        if (asked->calls >= asked->room) return US_RUN_FULL;
    }
    return US_RUN_FULL;
}

SEC("syscall")
int map_heads(struct us_run_batch *batch) {
    us_u32 nr = batch->nr_requests, i;
    used = 0;
    bpf_for(i, 0, nr) {
        struct us_run_request *asked = take(i);
        run.counters.heads++;
        asked->result = run_handler(asked, &run.lives[US_BOUND(chosen, US_RUN_TABLES)]);
    }
    return 0;
}
