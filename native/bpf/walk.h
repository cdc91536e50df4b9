/* What the test's program (walk.bpf.c) and the test (test/bpf/differential) share. */
#ifndef US_BPF_WALK_H
#define US_BPF_WALK_H

#include "core/table.h"

/* Powers of two. */
#define US_RUN_TABLES 64
#define US_RUN_REQUESTS 4096
#define US_RUN_PIECES 65536

/* Frozen when the programs are loaded. */
struct us_run_constants {
    us_u32 types;  /* bit T: there are layers of type T */
    us_u32 frozen; /* the table is this one, as an engine has it; else each request names one of the map's */
    struct us_table table;
};

enum us_run_result {
    US_RUN_END = 0,
    US_RUN_REDIRECT = 1, /* of heads alone: what the driver would hand to the server */
    US_RUN_BAD = 2,
    US_RUN_FULL = 3, /* no room for its pieces */
    US_RUN_UNASKED = 4,
    US_RUN_REFUSED = 5, /* of heads alone: the driver would not take the answer */
};

struct us_run_request {
    us_u64 offset, length;
    us_u32 table, root, op;
    us_u32 room; /* pieces at most */
    us_u32 first_piece, nr_pieces;
    us_u32 result;
    us_u32 calls; /* heads alone: how often the driver asked */
};

struct us_run_piece {
    us_u64 offset, length, buffer;
    us_u32 layer, redirected;
};

/* What a program itself counts: the proof that it ran. */
struct us_run_counters {
    us_u64 walks, walk_pieces;
    us_u64 heads, head_calls, head_pieces;
};

/* Shared while they run. */
struct us_run {
    struct us_run_counters counters;
    struct us_table tables[US_RUN_TABLES];
    struct us_live lives[US_RUN_TABLES];
    struct us_words words; /* of all tables */
    struct us_run_request requests[US_RUN_REQUESTS];
    struct us_run_piece pieces[US_RUN_PIECES];
};

/* The context of both programs. */
struct us_run_batch {
    us_u32 nr_requests;
    us_u32 reserved;
};

#endif
