/* What the BPF programs need of the kernel, declared by us: names and members are matched against the running
 * kernel's BTF when a program is loaded, so only what is used has to stand here.
 *
 * Facts of the kernel: include/uapi/linux/io_uring.h, include/uapi/linux/ublk_cmd.h, io_uring/bpf-ops.c and
 * io_uring/loop.h of Linux 7.1. */
#ifndef US_BPF_KERNEL_H
#define US_BPF_KERNEL_H

#include <stddef.h>

#include "core/types.h"

typedef us_u8 __u8;
typedef us_u16 __u16;
typedef us_u32 __u32;
typedef us_u64 __u64;
typedef __INT32_TYPE__ __s32;
typedef __INT64_TYPE__ __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;

/* Of include/uapi/linux/bpf.h: libbpf's helper declarations want these two names. */
enum bpf_map_type { BPF_MAP_TYPE_ARRAY = 2 };

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* ---- io_uring */

struct io_uring_sqe {
    __u8 opcode, flags;
    __u16 ioprio;
    __s32 fd;
    __u64 off;  /* URING_CMD: the command, in the low half */
    __u64 addr; /* fixed buffers: offset into the buffer */
    __u32 len;
    __u32 rw_flags;
    __u64 user_data;
    __u16 buf_index;
    __u16 personality;
    __u32 splice_fd_in;
    __u64 cmd[2]; /* URING_CMD: 16 bytes of its own */
};
_Static_assert(sizeof(struct io_uring_sqe) == 64, "a submission entry has 64 bytes");

struct io_uring_cqe {
    __u64 user_data;
    __s32 res;
    __u32 flags;
};

enum {
    IORING_OP_FSYNC = 3,
    IORING_OP_READ_FIXED = 4,
    IORING_OP_WRITE_FIXED = 5,
    IORING_OP_MSG_RING = 40,
    IORING_OP_URING_CMD = 46,
};
enum { IOSQE_FIXED_FILE = 1 << 0, IOSQE_ASYNC = 1 << 4, IOSQE_CQE_SKIP_SUCCESS = 1 << 6 };
enum { IORING_FSYNC_DATASYNC = 1, IORING_MSG_DATA = 0 };
enum { RWF_DSYNC = 2 };

/* struct_ops io_uring_bpf_ops. The context is an empty struct of ours: a mere declaration is no match for
 * libbpf. */
struct iou_ctx {};
struct iou_loop_params {
    __u32 cq_wait_idx;
};
enum { IOU_LOOP_CONTINUE = 0, IOU_LOOP_STOP = 1 };
enum { IOU_REGION_MEM = 0, IOU_REGION_CQ = 1, IOU_REGION_SQ = 2 };

struct io_uring_bpf_ops {
    int (*loop_step)(struct iou_ctx *, struct iou_loop_params *);
    __u32 ring_fd;
    void *priv;
};

extern int bpf_io_uring_submit_sqes(struct iou_ctx *ctx, __u32 nr) __ksym;
extern __u8 *bpf_io_uring_get_region(struct iou_ctx *ctx, __u32 region_id, const __u64 rdwr_buf_size) __ksym;

struct bpf_iter_num {
    __u64 opaque[1];
} __attribute__((aligned(8)));
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __weak __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __weak __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __weak __ksym;

/* `while (US_MAY_GO_ON)`: a loop whose end the verifier does not see. The kernel counts its turns in a few
 * instructions, where the numbers iterator of bpf_for() costs three calls and one more a turn, and leaves it
 * after some millions: a backstop, for every loop here ends by itself. The instruction may_goto (BPF_JMP |
 * BPF_JCOND, Linux 6.9), which older clangs cannot spell. */
#define US_MAY_GO_ON                                                                                         \
    ({                                                                                                       \
        __label__ spent, on;                                                                                 \
        int us_on = 1;                                                                                       \
        __asm__ volatile goto("1: .byte 0xe5, 0; .long ((%l[spent] - 1b - 8) / 8) & 0xffff; .short 0"        \
                              :                                                                              \
                              :                                                                              \
                              :                                                                              \
                              : spent);                                                                      \
        goto on;                                                                                             \
    spent:                                                                                                   \
        us_on = 0;                                                                                           \
    on:;                                                                                                     \
        us_on;                                                                                               \
    })

/* ---- ublk */

struct ublksrv_io_desc {
    __u32 op_flags;
    __u32 nr_sectors;
    __u64 start_sector;
    __u64 addr;
};
enum { UBLK_IO_OP_READ = 0, UBLK_IO_OP_WRITE = 1, UBLK_IO_OP_FLUSH = 2 };
enum { UBLK_IO_F_FUA = 1 << 13, UBLK_IO_F_NEED_REG_BUF = 1 << 17 };

#endif
