// What leaves on a file descriptor have in common: file, memory, block.
//
// How an operation reaches the media:
//
//     ring    everything, but
//     inline  what io_uring would only hand to a worker thread although it does not wait for media:
//             tmpfs altogether, and short buffered writes that need not be durable
#pragma once

#include <atomic>

#include "targets/target.h"

namespace us {

class FdLeaf : public Leaf {
  public:
    using Leaf::Leaf;
    ~FdLeaf() override;

    void close() override;
    int fd() const override { return fd_; }
    bool runs_inline(const LeafIo &io) const override;
    int64_t run(const LeafIo &io) override;
    void prepare(io_uring_sqe *sqe, int file, const LeafIo &io) const override;
    void sync_failed() override;
    bool remembers_sync_failures() const override { return !direct_ && !in_memory_; }
    int sync_error() const override;
    void forget_sync_error() override;
    int sync_now() override;
    // A buffered transfer copies anyway, and from a registered buffer only a worker of the kernel's could do
    // it.
    bool zero_copy() const override { return direct_; }
    KernelPath kernel_path() const override;
    std::string identity() const override { return identity_; }
    Extent extent(uint64_t offset, uint64_t length) const override;

  protected:
    [[noreturn]] void refuse_path(const std::string &code, const std::string &message) const;
    [[noreturn]] void refuse_errno(int error, const char *what) const;

    // Opens path() with O_CLOEXEC and the flags given. -errno instead of an exception.
    int try_open(int flags);

    int fd_ = -1;
    bool direct_ = false;
    bool in_memory_ = false; // tmpfs
    std::string identity_;

  private:
    // After a failed flush the page cache has dropped what it could not write, and a later flush would
    // succeed without it (fsync(2), "EIO"). So the first failure holds until the content is written anew.
    std::atomic<int> sync_error_{0};
};

} // namespace us
