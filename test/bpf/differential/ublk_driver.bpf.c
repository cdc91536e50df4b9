/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Engine ublk-bpf under the real verifier and JIT, on a kernel that has not the RFC: its code as it is
 * (bpf/ublk_queue.h), between a driver and kfuncs played here, as patches 08, 11, 15 and 18 of the RFC have
 * them. BPF_PROG_TEST_RUN takes one request from its first call to its last completion. */
#include "bpf/kernel.h"

/* The kernel's BTF knows no struct bpf_aio to relocate to: ours is the one. */
#define preserve_access_index aligned(4)
#include "bpf/ublk_rfc.h"
#include "ublk_driver.h"

struct us_driver driver SEC(".bss.driver");
us_u32 base; /* bytes of the request that are completed: what the block layer has taken off */

char _license[] SEC("license") = "Dual MIT/GPL";

US_INLINE struct us_driver_aio *aio_at(us_u32 number) {
    return &driver.aios[US_BOUND(number, US_DRIVER_AIOS)];
}

/* ---- kfuncs */

struct ublksrv_io_desc desc;

#define ublk_bpf_get_iod(io) ((const struct ublksrv_io_desc *)&desc)
#define ublk_bpf_get_queue_id(io) ((int)driver.queue)
#define ublk_bpf_get_io_tag(io) ((int)driver.tag)
#define ublk_bpf_acquire_io_from_aio(aio)                                                                    \
    (((struct us_driver_aio *)(aio))->attached ? (struct ublk_bpf_io *)&desc : NULL)
#define ublk_bpf_release_io_from_aio(io) ((void)(io))

US_INLINE void stand_complete(int result) {
    driver.completions++;
    driver.result = result;
}
#define ublk_bpf_complete_io(io, result) stand_complete(result)

US_INLINE struct bpf_aio *stand_alloc(us_u32 op) {
    us_u32 number = driver.nr_aios;
    if (number >= US_DRIVER_AIOS || number == driver.lacks_at) return NULL;
    struct us_driver_aio *aio = aio_at(number);
    driver.nr_aios = number + 1;
    aio->opf = op;
    return (struct bpf_aio *)aio;
}
#define bpf_aio_alloc_sleepable(op, flags) stand_alloc(op)

US_INLINE int stand_attach(us_u32 offset, us_u32 bytes, struct us_driver_aio *aio) {
    if (offset + bytes > desc.nr_sectors << US_SECTOR_SHIFT) return -22;
    aio->attached = 1;
    aio->buffer = base + offset;
    aio->buffer_bytes = bytes;
    return 0;
}
#define ublk_bpf_attach_and_prep_aio(io, offset, bytes, aio)                                                 \
    stand_attach(offset, bytes, (struct us_driver_aio *)(aio))

US_INLINE void stand_detach(struct us_driver_aio *aio) {
    if (!aio->attached) driver.refused++;
    aio->attached = 0;
}
#define ublk_bpf_dettach_and_complete_aio(aio) stand_detach((struct us_driver_aio *)(aio))

US_INLINE void stand_release(struct us_driver_aio *aio) {
    if (aio->released || aio->attached) driver.refused++;
    aio->released = 1;
}
#define bpf_aio_release(aio) stand_release((struct us_driver_aio *)(aio))

US_INLINE int stand_submit(struct us_driver_aio *aio, us_u32 file, us_u64 offset, us_u32 bytes, us_u32 flags);
#define bpf_aio_submit(aio, file, offset, bytes, flags)                                                      \
    stand_submit((struct us_driver_aio *)(aio), file, offset, bytes, flags)

#include "bpf/ublk_queue.h"

__noinline __weak int end_aio(us_u32 number) {
    struct us_driver_aio *aio = aio_at(number);
    if (!aio->submitted || aio->ended) return 0;
    aio->ended = 1;
    piece_ended((struct bpf_aio *)aio, number == driver.fails_at ? -5 : (long)aio->bytes);
    return 0;
}

US_INLINE int stand_submit(struct us_driver_aio *aio, us_u32 file, us_u64 offset, us_u32 bytes,
                           us_u32 flags) {
    us_u32 number = driver.nr_aios - 1;
    if (!aio->attached || aio->buffer_bytes != bytes) driver.refused++;
    if (number == driver.refuses_at) return -22;
    aio->file = file;
    aio->offset = offset;
    aio->bytes = bytes;
    aio->flags = flags;
    aio->submitted = 1;
    if (driver.order == US_DRIVER_AT_ONCE) end_aio(number);
    return 0;
}

/* ---- the driver */

__noinline __weak us_u64 ask(us_u32 done) {
    driver.calls++;
    return queue_request((struct ublk_bpf_io *)&desc, done);
}

/* ublk_run_bpf_handler() of the RFC: whether the program keeps the request. */
US_INLINE int run_handler(void) {
    us_u32 total = desc.nr_sectors << US_SECTOR_SHIFT, done = 0;
    bpf_repeat(1 << 16) {
        us_u64 answer = ask(done);
        us_u32 bytes = (us_u32)answer;
        us_u64 disposition = answer >> UBLK_BPF_DISPOSITION_SHIFT;
        if (disposition == UBLK_BPF_IO_QUEUED) return 1;
        if (disposition == UBLK_BPF_IO_REDIRECT) return done > 0;
        if (disposition != UBLK_BPF_IO_CONTINUE || bytes % 512 || !bytes || bytes > total - done) {
            driver.refused++;
            return 1;
        }
        done += bytes;
        if (done >= total) return 1;
    }
    driver.refused++;
    return 1;
}

SEC("syscall")
int run_request(void *unused_context) {
    us_u32 i, first, nr;
    driver.runs++;
    base = 0;
    desc.op_flags = driver.op_flags;
    desc.start_sector = driver.start_sector;
    desc.nr_sectors = driver.nr_sectors;
    bpf_repeat(4) {
        driver.completions = 0;
        first = driver.nr_aios;
        int kept = run_handler();
        nr = driver.nr_aios;
        if (driver.order != US_DRIVER_AT_ONCE && nr > first)
            bpf_for(i, 0, nr - first) end_aio(driver.order == US_DRIVER_REVERSED ? nr - 1 - i : first + i);
        if (!kept) {
            driver.to_server = 1;
            driver.from = base;
            if (driver.completions) driver.refused++;
            return 0;
        }
        if (driver.completions != 1) {
            driver.refused++;
            return 0;
        }
        if (driver.result < 0) return 0;
        /* Done in part: the block layer takes that off, and queues the rest again. */
        driver.done = base += (us_u32)driver.result;
        desc.start_sector += (us_u32)driver.result >> US_SECTOR_SHIFT;
        if ((us_u32)driver.result >= desc.nr_sectors << US_SECTOR_SHIFT) return 0;
        desc.nr_sectors -= (us_u32)driver.result >> US_SECTOR_SHIFT;
        if (!driver.result) break;
    }
    driver.refused++;
    return 0;
}
