// The ring whose loop runs in the kernel. Set up by hand: Debian 12's liburing does not know rings without an
// index array, and would write one over the queue's head. Linux 7.1: struct_ops io_uring_bpf_ops.
//
//   constructor   disabled, so that any thread may register things and attach a program
//   enable()      on the thread that will run it: from then on it is that thread's alone
//   run()         until the program says stop
#pragma once

#include <linux/io_uring.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bpf/loop.h"

namespace us::ublk {

class KernelRing {
  public:
    // Both powers of two. Throws std::system_error, with EINVAL where the kernel lacks a setup flag.
    KernelRing(uint32_t sq_entries, uint32_t cq_entries);
    ~KernelRing();
    KernelRing(const KernelRing &) = delete;
    KernelRing &operator=(const KernelRing &) = delete;

    int fd() const { return fd_; }
    uint32_t sq_entries() const { return sq_entries_; }
    uint32_t cq_entries() const { return cq_entries_; }
    // Fills in what a program has to know of the ring.
    void describe(us_loop_config &config) const;

    // Before enable(). Throw std::system_error.
    void register_files(const std::vector<int> &fds);
    void register_buffers(uint32_t nr);               // empty places
    void register_region(void *memory, size_t bytes); // whole pages, shared with the program

    void enable();
    // A zeroed entry, to be taken up by the program's first step. At most sq_entries() of them, by the owner.
    io_uring_sqe *first_entry();

    // Runs the loop. 0 once the program said stop, -EINTR after a signal, else -errno.
    int run();

  private:
    int fd_ = -1;
    uint32_t sq_entries_ = 0, cq_entries_ = 0;
    struct {
        uint32_t sq_head, sq_tail, cq_head, cq_tail, cq_cqes;
    } offsets_{};
    std::byte *words_ = nullptr;
    size_t words_bytes_ = 0;
    io_uring_sqe *sqes_ = nullptr;
    size_t sqes_bytes_ = 0;
};

} // namespace us::ublk
