/* What the stand-in for the RFC's driver (ublk_driver.bpf.c) and the test share. */
#ifndef US_TEST_UBLK_DRIVER_H
#define US_TEST_UBLK_DRIVER_H

#include "bpf/ublk.h"

#define US_DRIVER_AIOS 512 /* a power of two: of one request */

/* When an aio ends. */
enum us_driver_order {
    US_DRIVER_AT_ONCE = 0,  /* within bpf_aio_submit(), as a page cache may have it */
    US_DRIVER_IN_TURN = 1,  /* once all are queued, in the order of submission */
    US_DRIVER_REVERSED = 2, /* … and in the opposite one */
};

struct us_driver_aio {
    us_u32 opf, bytes; /* struct bpf_aio: first, so that a pointer to it is one to this */
    us_u32 file, flags;
    us_u64 offset;
    us_u32 buffer,
        buffer_bytes; /* where in the request it was attached, counted from the request's first byte */
    us_u8 attached, submitted, ended, released;
    us_u32 reserved;
};

struct us_driver {
    /* the request */
    us_u32 op_flags, nr_sectors;
    us_u64 start_sector;
    us_u32 queue, tag;
    us_u32 order;
    us_u32 fails_at;   /* the aio of that number ends with -EIO; ~0: none */
    us_u32 refuses_at; /* … is refused by bpf_aio_submit() */
    us_u32 lacks_at;   /* … cannot be allocated */
    /* what became of it */
    us_u32 nr_aios;
    us_u32 calls;       /* of queue_io_cmd_daemon */
    us_u32 completions; /* of the io, this time round */
    us_u32 refused;     /* answers that the driver would not take, or a call of a kfunc that it would not */
    us_u32 to_server;   /* handed over, from … */
    us_u32 from;        /* … this byte of the request on */
    us_u32 done;        /* bytes completed with success */
    int result;         /* the last completion */
    us_u64 runs;        /* requests in all */
    struct us_driver_aio aios[US_DRIVER_AIOS];
};

#endif
