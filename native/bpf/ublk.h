/* What the programs of engine ublk-bpf (ublk.bpf.c) and whoever loads them share. */
#ifndef US_BPF_UBLK_H
#define US_BPF_UBLK_H

#include "core/table.h"

#define US_UBLK_MAX_QUEUES 64  /* a power of two */
#define US_UBLK_MAX_TAGS 65536 /* of all queues together; a power of two */

/* How a leaf is reached. */
struct us_ublk_leaf {
    us_u32 nowhere; /* nothing is stored: reads come from the file of zeros, writes have no effect */
    us_u32 file;    /* a descriptor of the server's, in whose threads the requests are queued */
};

/* Frozen when the programs are loaded. */
struct us_ublk_constants {
    us_u32 types; /* bit T: the table has a layer of type T */
    us_u32 root;
    us_u32 device; /* the only one that may have these programs */
    us_u32 depth;  /* of each queue */
    us_u32 read_only;
    us_u32 reserved;
    us_u64 size_bytes;
    struct us_ublk_leaf leaves[US_MAX_LAYERS];
    struct us_table table;
};

/* A request between its first call and its completion. */
struct us_ublk_tag {
    us_u64 bytes;   /* that it is completed with, when all went well */
    us_u32 pending; /* pieces under way, and 1 until all are queued */
    us_u32 error;   /* errno of a piece that failed */
};

struct us_ublk_counters {
    us_u64 handled;    /* requests completed by the program, with or without success */
    us_u64 failed;     /* of these, with an error */
    us_u64 cut;        /* of these, short: the rest comes again */
    us_u64 redirected; /* to the server */
    us_u64 pieces;
};

#endif
