/* What a queue's kernel loop and the server share: read-only words that specialise the program, and words
 * that it counts and keeps. Compiled as C++ by the server (frontends/ublk/kernel_loop.h) and as BPF.
 *
 *   .rodata   us_loop_config, us_loop_leaf[], us_table    frozen when the program is loaded: the verifier
 * removes what this stack does not use .bss      us_loop_tag[], us_loop_counters             the program's
 * own; the server reads along region    the live file (engine/live.h)               live words and in-flight
 * slots, when there are layers with a handler
 */
#ifndef US_BPF_LOOP_H
#define US_BPF_LOOP_H

#include "core/crowd.h"
#include "core/table.h"

#define US_LOOP_MAX_TAGS 4096 /* a power of two: UBLK_MAX_QUEUE_DEPTH */

/* user_data of everything on the loop's ring: kind << 56 | layer << 48 | tag << 32 | sectors. */
enum us_loop_kind {
    US_LOOP_FETCH = 1,  /* FETCH or COMMIT_AND_FETCH of a tag */
    US_LOOP_PIECE = 2,  /* IO on a leaf */
    US_LOOP_DONE = 3,   /* from the executor: commit this tag with this result */
    US_LOOP_STOP = 4,   /* from the executor: end when nothing is in flight */
    US_LOOP_PASSED = 5, /* a message of ours to the executor did not get through */
    US_LOOP_TOLD = 6,   /* the same, for the news that the driver takes the device back */
    US_LOOP_CROWD = 7,  /* the same, for the news of a crowd */
};
#define US_LOOP_USER_DATA(kind, tag) ((us_u64)(kind) << 56 | (us_u64)(tag) << 32)

/* Why a request goes to user space. */
enum us_loop_reason {
    US_LOOP_BY_OPERATION = 0, /* discard, write-zeroes, whatever the loop does not know */
    US_LOOP_BY_LAYER = 1,     /* a layer left the fast path */
    US_LOOP_BY_FAILURE = 2,   /* a piece failed or came short */
    US_LOOP_BY_BUFFER = 3,    /* the driver could not register the request's buffer */
    US_LOOP_BY_SIZE = 4,      /* more pieces than the loop places for one request */
    US_LOOP_BY_SYNC = 5, /* a leaf with a page cache: of overlapping flushes one alone hears of a failure */
    US_LOOP_REASONS = 8, /* places for counts: a power of two */
};

/* Pieces of one request at most. */
#define US_LOOP_MAX_PIECES 64

/* Bits of us_loop_config.types that are leaves'. */
#define US_LEAF_TYPES (1u << US_TYPE_NULL | 1u << US_TYPE_FILE | 1u << US_TYPE_BLOCK)

struct us_loop_config {
    us_u32 sq_entries, cq_entries;                      /* powers of two */
    us_u32 sq_mask, cq_mask;                            /* one less */
    us_u32 sq_head, sq_tail, cq_head, cq_tail, cq_cqes; /* offsets into the ring's first mapping */
    us_u32 depth, queue;
    us_u32 max_pieces;     /* of one request, at most US_LOOP_MAX_PIECES: more are passed on */
    us_u32 char_file;      /* a registered file */
    us_u32 commit_op;      /* sqe->off of COMMIT_AND_FETCH */
    us_u32 auto_buf_flags; /* or'ed to the index in its sqe->addr */
    us_u32 types;          /* bit T: the table has a layer of type T */
    us_u32 root;
    us_u32 read_only;
    us_u32 pass_flushes;                            /* and durable writes: US_LOOP_BY_SYNC */
    us_u32 shared;                                  /* live words are in the region */
    us_u32 tracked;                                 /* writes publish in-flight slots there */
    us_u32 tracks_reads;                            /* … and reads: what they see may go away */
    us_u32 region_bytes, live_offset, slots_offset; /* of this queue's first slot */
    us_u32 words_offset;                            /* of formats; 0: there are none */
    us_u64 size_bytes;
    us_u64 passed_stride; /* of us_loop_counters.passed_base */
    us_u64 spin_ns;       /* poll so long before sleeping; 0: sleep at once */
    us_u32 spin_adapts;   /* … but only while the last wait was not longer */
};

/* How a leaf is reached. */
enum us_loop_access {
    US_LOOP_NO_LEAF = 0,
    US_LOOP_NOWHERE = 1, /* nothing is stored: reads come from the file of zeros, the rest has no effect */
    US_LOOP_FILE = 2,
};

struct us_loop_leaf {
    us_u32 access;      /* enum us_loop_access */
    us_u32 file;        /* registered file */
    us_u32 async_bytes; /* writes of this length and more are handed to a worker of the kernel's; 0: never */
    us_u32 flush;       /* 0: nothing to be made durable here */
};

struct us_loop_tag {
    us_u64 failed_leaves; /* bit L: a piece on leaf L failed for good, so what it should make durable may be
                             lost */
    us_u64 length;
    us_u32 pending; /* pieces under way, and 1 for the walk */
    us_u16 op;      /* enum us_op */
    us_u8 tracked;  /* has an in-flight slot */
    us_u8 reason;   /* 1 + enum us_loop_reason: goes to user space when the last piece has ended */
    int error;      /* -errno of the first of failed_leaves */
};

struct us_loop_leaf_counters {
    us_u64 reads, writes, flushes, bytes_read, bytes_written;
};

struct us_loop_counters {
    us_u64 steps;   /* runs of the program */
    us_u64 begun;   /* requests taken from the driver */
    us_u64 ended;   /* … and given back to it */
    us_u64 handled; /* of these, answered without user space */
    us_u64 bytes;   /* read and written by these */
    us_u64 passed[US_LOOP_REASONS];
    us_u64 spins;     /* steps that found nothing while polling */
    us_u64 last_work; /* when something came last, by the kernel's clock in ns */
    us_u64 last_wait; /* how long that had to be waited for */
    us_u32 rounds;    /* that this step may still look for completions */
    us_u32 stopping;
    us_u32 aborted; /* the driver takes the device back */
    us_u32 lost;    /* -errno of a FETCH that failed in another way: the loop cannot go on */
    /* Set by the server, and its own: a program that is verified serves the next server too. */
    us_u32 executor_ring; /* its descriptor of the executor's ring */
    us_u64 descriptors;   /* address of the queue's request descriptors */
    us_u64 passed_base;   /* user_data of messages to the executor: base + tag × stride */
    us_u64 abort_data;    /* … and of the news that the driver takes the device back */
    us_u64 crowd_data;    /* … and that requests come in crowds, or no more: result 1 or 0 */
    struct us_crowd crowd;
    struct us_loop_leaf_counters leaves[US_MAX_LAYERS];
};

#endif
