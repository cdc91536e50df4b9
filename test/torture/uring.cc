// liburing, as far as the data plane calls it, over the simulated kernel. What is inline in its header runs
// as it is, on the rings that are laid out here.
#include <algorithm>
#include <cerrno>

#include "kernel.h"
#include "trace.h"

namespace {

Kernel::Ring &of(io_uring *ring) {
    for (Kernel::Ring *known : Kernel::current->rings)
        if (known->ring == ring) return *known;
    fail("an unknown ring");
}

} // namespace

extern "C" {

int io_uring_queue_init_params(unsigned entries, io_uring *ring, io_uring_params *params) {
    auto *made = new Kernel::Ring;
    made->ring = ring;
    made->sqes.resize(entries);
    made->cqes.resize(params->cq_entries);
    *ring = {};
    ring->sq.khead = &made->sq_head;
    ring->sq.ktail = &made->sq_tail;
    ring->sq.sqes = made->sqes.data();
    ring->sq.ring_mask = entries - 1;
    ring->sq.ring_entries = entries;
    ring->cq.khead = &made->cq_head;
    ring->cq.ktail = &made->cq_tail;
    ring->cq.cqes = made->cqes.data();
    ring->cq.ring_mask = params->cq_entries - 1;
    ring->cq.ring_entries = params->cq_entries;
    ring->flags = params->flags;
    Kernel::current->rings.push_back(made);
    return 0;
}

void io_uring_queue_exit(io_uring *ring) {
    Kernel::Ring &made = of(ring);
    Kernel::current->forget(made);
    delete &made;
}

int io_uring_register_files(io_uring *ring, const int *files, unsigned nr) {
    of(ring).files.assign(files, files + nr);
    return 0;
}

int io_uring_register_buffers_sparse(io_uring *, unsigned) {
    return 0;
}

int io_uring_submit(io_uring *ring) {
    Kernel::current->submit_entries(of(ring));
    return 0;
}

int io_uring_submit_and_wait(io_uring *ring, unsigned) {
    Kernel::Ring &made = of(ring);
    Kernel::current->submit_entries(made);
    while (Kernel::current->blocking && made.cq_head == made.cq_tail)
        Kernel::current->take_next();
    return made.cq_head == made.cq_tail ? -EINTR : 0;
}

int io_uring_submit_and_wait_timeout(io_uring *ring, io_uring_cqe **, unsigned, __kernel_timespec *limit,
                                     sigset_t *) {
    Kernel &kernel = *Kernel::current;
    Kernel::Ring &made = of(ring);
    kernel.submit_entries(made);
    uint64_t end = kernel.now_ns + static_cast<uint64_t>(limit->tv_sec) * 1'000'000'000 +
                   static_cast<uint64_t>(limit->tv_nsec);
    while (kernel.blocking && made.cq_head == made.cq_tail && kernel.next_due() <= end)
        kernel.take_next();
    if (made.cq_head != made.cq_tail) return 0;
    if (kernel.blocking) kernel.now_ns = end;
    return -ETIME;
}
}
