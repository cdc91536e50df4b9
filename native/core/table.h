/* The table of one device as the mapping core sees it: constant after load, children by index.
 *
 *     layers[0 .. nr_layers)   a child's index is greater than its parent's, so every walk is bounded
 *     links[]                  children of layer L: links[L.first_link .. L.first_link + L.nr_children)
 *
 *   live.layers[i] says what may change while IO runs (which members of layer i take part). It lies in memory
 * that server threads, the next server after a crash, and a BPF program share.
 *
 * Units: bytes. Sizes and offsets are multiples of 512. */
#ifndef US_CORE_TABLE_H
#define US_CORE_TABLE_H

#include "types.h"

#define US_MAX_LAYERS 64      /* a power of two: indexes are masked with it */
#define US_MAX_LINKS 256      /* a power of two */
#define US_MAX_CHILDREN 32    /* of one layer: a set of children fits a us_u32 */
#define US_MAX_DEPTH 8        /* a power of two */
#define US_MAX_WORDS 0x100000 /* of all formats of a table: a power of two, 8 MiB */

enum us_type {
    US_TYPE_NULL = 0,
    US_TYPE_FILE = 1, /* file, memory */
    US_TYPE_BLOCK = 2,
    US_TYPE_LINEAR = 3,
    US_TYPE_STRIPE = 4,
    US_TYPE_MIRROR = 5,
    US_TYPE_PARTITION = 6,
    US_TYPE_INSTRUMENT = 7, /* delay, error, flakey, …: whatever looks at requests before it passes them on */
    US_TYPE_FORMAT = 8,     /* qcow2: where its bytes lie its handler says, unit by unit */
};

enum us_op {
    US_OP_READ = 0,
    US_OP_WRITE = 1,
    US_OP_FLUSH = 2, /* offset and length are 0; goes to every child */
    US_OP_DISCARD = 3,
    US_OP_WRITE_ZEROES = 4,
    US_OP_CACHE = 5, /* read ahead; moves no data to the client */
};

struct us_link {
    us_u64 start; /* first byte of the parent that lies on this child; only linear uses it */
    us_u32 layer;
    us_u32 reserved;
};

struct us_layer {
    us_u64 size;
    us_u64 param[2]; /* meaning: the layer's own header */
    us_u16 type;     /* enum us_type */
    us_u16 first_link;
    us_u16 nr_children; /* 0: a leaf */
    us_u16 reserved;
};

struct us_table {
    us_u32 nr_layers;
    us_u32 nr_links;
    struct us_layer layers[US_MAX_LAYERS];
    struct us_link links[US_MAX_LINKS];
};

/* Of a mirror. Set once a write to this layer has its durable mark; while clear, every write is redirected
 * (mirror.h). */
#define US_LIVE_WRITE_OPEN 1u
/* Set while a member that failed is not on record as dropped: flushes are redirected too. */
#define US_LIVE_UNRECORDED 2u

/* Of a format (format.h). */
#define US_LIVE_MAP_OPEN 1u
#define US_LIVE_TABLES_CLEAN 2u

struct us_live_layer {
    us_u32 readable; /* bit c: child c holds current data */
    us_u32 writable; /* bit c: child c takes writes; a superset of readable; all ones in layers but mirrors */
    us_u32 gate;     /* mirror, format: US_LIVE_*; instrument: instrument.h */
    us_u32 reserved;
    us_u64 window_start; /* of [window_start, window_end); mirror: a resync copies there; instrument: it looks
                            there; format: format.h */
    us_u64 window_end;
};

struct us_live {
    struct us_live_layer layers[US_MAX_LAYERS];
};

/* Where units of disk images lie: format.h. */
struct us_words {
    us_u64 word[US_MAX_WORDS];
};

US_INLINE int us_op_writes(us_u32 op) {
    return op == US_OP_WRITE || op == US_OP_DISCARD || op == US_OP_WRITE_ZEROES;
}

#endif
