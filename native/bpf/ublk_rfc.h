/* What the ublk-bpf RFC adds to a kernel ("[RFC PATCH 00/22] ublk: support bpf", Ming Lei, 2025-01-07),
 * declared by us. No released kernel has it: a program that uses this is loaded only where the kernel's BTF
 * knows struct ublk_bpf_ops.
 *
 * Numbers and names are the RFC's: dispositions, struct ublk_bpf_ops and how an answer is packed of patches
 * 08 and 11 (drivers/block/ublk/bpf.h), kfuncs of 10, 15 and 18 (bpf.c, bpf_aio.h). */
#ifndef US_BPF_UBLK_RFC_H
#define US_BPF_UBLK_RFC_H

#include "bpf/kernel.h"

enum ublk_bpf_disposition {
    UBLK_BPF_IO_QUEUED = 0,   /* the program has it all, and will complete it */
    UBLK_BPF_IO_REDIRECT = 1, /* to the server */
    UBLK_BPF_IO_CONTINUE = 2, /* so many bytes are queued: call again for the rest */
};
typedef unsigned long ublk_bpf_return_t;

/* The disposition in the highest four bits, the bytes below. */
#define UBLK_BPF_DISPOSITION_SHIFT (64 - 4)
US_INLINE ublk_bpf_return_t ublk_bpf_return_val(enum ublk_bpf_disposition disposition, us_u64 bytes) {
    return (us_u64)disposition << UBLK_BPF_DISPOSITION_SHIFT | bytes;
}

/* Opaque. Empty rather than declared: a mere declaration is no match for libbpf. */
struct ublk_bpf_io {};

struct bpf_aio {
    unsigned int opf;
    unsigned int bytes;
} __attribute__((preserve_access_index));

enum bpf_aio_op {
    BPF_AIO_OP_FS_READ = 0,
    BPF_AIO_OP_FS_WRITE = 1,
    BPF_AIO_OP_FS_FSYNC = 2,
    BPF_AIO_OP_FS_FALLOCATE = 3,
};
enum bpf_aio_flag { BPF_AIO_FORCE_WQ = 1 << 8 };
enum { IOCB_DSYNC = 2 }; /* include/linux/fs.h */

struct ublk_bpf_ops {
    unsigned int id;
    ublk_bpf_return_t (*queue_io_cmd)(struct ublk_bpf_io *, unsigned int);
    ublk_bpf_return_t (*queue_io_cmd_daemon)(struct ublk_bpf_io *, unsigned int);
    void (*release_io_cmd)(struct ublk_bpf_io *);
    int (*attach_dev)(int);
    void (*detach_dev)(int);
};

struct bpf_aio_complete_ops {
    unsigned int id;
    void (*bpf_aio_complete_cb)(struct bpf_aio *, long);
};

extern const struct ublksrv_io_desc *ublk_bpf_get_iod(const struct ublk_bpf_io *io) __ksym;
extern void ublk_bpf_complete_io(const struct ublk_bpf_io *io, int res) __ksym;
extern int ublk_bpf_get_queue_id(const struct ublk_bpf_io *io) __ksym;
extern int ublk_bpf_get_io_tag(const struct ublk_bpf_io *io) __ksym;

extern struct bpf_aio *bpf_aio_alloc_sleepable(unsigned int op, enum bpf_aio_flag flags) __ksym;
extern void bpf_aio_release(struct bpf_aio *aio) __ksym;
extern int bpf_aio_submit(struct bpf_aio *aio, int fd, __s64 pos, unsigned int bytes,
                          unsigned int io_flags) __ksym;

extern int ublk_bpf_attach_and_prep_aio(const struct ublk_bpf_io *io, unsigned int off, unsigned int bytes,
                                        struct bpf_aio *aio) __ksym;
extern void ublk_bpf_dettach_and_complete_aio(struct bpf_aio *aio) __ksym;
extern struct ublk_bpf_io *ublk_bpf_acquire_io_from_aio(struct bpf_aio *aio) __ksym;
extern void ublk_bpf_release_io_from_aio(struct ublk_bpf_io *io) __ksym;

#endif
