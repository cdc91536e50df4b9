#include "targets/fd_leaf.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "targets/ofd_lock.h"

namespace us {

namespace {

// One system call moves at most this much (read(2), "NOTES").
constexpr uint64_t MAX_RW_BYTES = 0x7ffff000;

// A buffered write is a copy into the page cache. A short one costs less than handing it over; a long one
// goes to a worker of the kernel's, so that the queue's thread receives what comes next on another CPU
// meanwhile.
constexpr uint64_t LONG_COPY_BYTES = 64 << 10;

bool is_long_buffered_write(const LeafIo &io, bool direct) {
    return io.op == US_OP_WRITE && !direct && io.length >= LONG_COPY_BYTES;
}

unsigned rw_length(const LeafIo &io) {
    return static_cast<unsigned>(std::min(io.length, MAX_RW_BYTES));
}

// Zeros with the blocks kept, or a hole: both read as zeros, and neither changes the size.
int zero_mode(const LeafIo &io) {
    bool keep = io.op == US_OP_WRITE_ZEROES && (io.flags & IO_NO_UNMAP);
    return (keep ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE) | FALLOC_FL_KEEP_SIZE;
}

int write_flags(const LeafIo &io) {
    return io.op == US_OP_WRITE && (io.flags & IO_FUA) ? RWF_DSYNC : 0;
}

} // namespace

FdLeaf::~FdLeaf() {
    close();
}

void FdLeaf::close() {
    if (fd_ >= 0) {
        // By word: the rings of a process that is ending may hold on to the file for a moment longer.
        unlock_image(fd_);
        ::close(fd_);
    }
    fd_ = -1;
}

int FdLeaf::try_open(int flags) {
    int fd = ::open(path().c_str(), flags | O_CLOEXEC);
    if (fd < 0) return -errno;
    close();
    fd_ = fd;
    return 0;
}

void FdLeaf::refuse_path(const std::string &code, const std::string &message) const {
    throw ConfigError(code, "layer \"" + config().name + "\": " + message, config().name, path());
}

void FdLeaf::refuse_errno(int error, const char *what) const {
    const char *code = error == ENOENT                                       ? "path-missing"
                       : error == EACCES || error == EPERM || error == EROFS ? "permission-denied"
                       : error == EBUSY                                      ? "path-in-use"
                       : error == ENOSPC                                     ? "no-space"
                                                                             : "io-error";
    refuse_path(code, std::string(what) + " " + path() + ": " + strerror(error));
}

bool FdLeaf::runs_inline(const LeafIo &io) const {
    if (io.op == US_OP_CACHE && direct_) return true; // nothing to do: direct reads do not see the page cache
    if (!io.buffer.data && (io.op == US_OP_READ || io.op == US_OP_WRITE)) return false;
    if (in_memory_) return true;
    return io.op == US_OP_WRITE && !direct_ && !(io.flags & IO_FUA) && !is_long_buffered_write(io, direct_);
}

int64_t FdLeaf::run(const LeafIo &io) {
    int64_t result = 0;
    switch (io.op) {
    case US_OP_READ:
        result = pread(fd_, io.buffer.data, rw_length(io), static_cast<off_t>(io.offset));
        break;
    case US_OP_WRITE: {
        iovec vec{io.buffer.data, rw_length(io)};
        result = pwritev2(fd_, &vec, 1, static_cast<off_t>(io.offset), write_flags(io));
        break;
    }
    case US_OP_FLUSH:
        result = in_memory_ ? 0 : fdatasync(fd_);
        break;
    case US_OP_DISCARD:
    case US_OP_WRITE_ZEROES:
        result = fallocate(fd_, zero_mode(io), static_cast<off_t>(io.offset), static_cast<off_t>(io.length));
        break;
    case US_OP_CACHE:
        break;
    }
    return result < 0 ? -errno : result;
}

void FdLeaf::prepare(io_uring_sqe *sqe, int file, const LeafIo &io) const {
    switch (io.op) {
    case US_OP_READ:
        if (io.buffer.data)
            io_uring_prep_read(sqe, file, io.buffer.data, rw_length(io), io.offset);
        else
            io_uring_prep_read_fixed(sqe, file, reinterpret_cast<void *>(io.buffer.fixed_offset),
                                     rw_length(io), io.offset, io.buffer.fixed_index);
        break;
    case US_OP_WRITE:
        if (io.buffer.data)
            io_uring_prep_write(sqe, file, io.buffer.data, rw_length(io), io.offset);
        else
            io_uring_prep_write_fixed(sqe, file, reinterpret_cast<void *>(io.buffer.fixed_offset),
                                      rw_length(io), io.offset, io.buffer.fixed_index);
        sqe->rw_flags = write_flags(io);
        break;
    case US_OP_FLUSH:
        io_uring_prep_fsync(sqe, file, IORING_FSYNC_DATASYNC);
        break;
    case US_OP_DISCARD:
    case US_OP_WRITE_ZEROES:
        io_uring_prep_fallocate(sqe, file, zero_mode(io), static_cast<off_t>(io.offset),
                                static_cast<off_t>(io.length));
        break;
    case US_OP_CACHE:
        io_uring_prep_fadvise(sqe, file, io.offset, static_cast<off_t>(std::min(io.length, MAX_RW_BYTES)),
                              POSIX_FADV_WILLNEED);
        break;
    }
    sqe->flags |= IOSQE_FIXED_FILE;
    if (is_long_buffered_write(io, direct_)) sqe->flags |= IOSQE_ASYNC;
}

KernelPath FdLeaf::kernel_path() const {
    return {.stores = true,
            .flush = !in_memory_ && !config().read_only,
            .async_bytes = direct_ ? 0 : static_cast<uint32_t>(LONG_COPY_BYTES)};
}

void FdLeaf::sync_failed() {
    if (!direct_) sync_error_.store(EIO, std::memory_order_relaxed);
}

int FdLeaf::sync_error() const {
    return -sync_error_.load(std::memory_order_relaxed);
}

void FdLeaf::forget_sync_error() {
    sync_error_.store(0, std::memory_order_relaxed);
}

int FdLeaf::sync_now() {
    if (fd_ < 0 || in_memory_ || config().read_only) return 0;
    if (sync_error() != 0) return sync_error();
    return fdatasync(fd_) == 0 ? 0 : -errno;
}

Extent FdLeaf::extent(uint64_t offset, uint64_t length) const {
    off_t data = lseek(fd_, static_cast<off_t>(offset), SEEK_DATA);
    if (data < 0 && errno != ENXIO) return {length, 0}; // cannot tell: data is always a right answer
    uint64_t data_start = data < 0 ? offset + length : static_cast<uint64_t>(data);
    if (data_start > offset) return {std::min(length, data_start - offset), EXTENT_HOLE | EXTENT_ZERO};

    off_t hole = lseek(fd_, static_cast<off_t>(offset), SEEK_HOLE);
    if (hole < 0 || static_cast<uint64_t>(hole) <= offset) return {length, 0};
    return {std::min(length, static_cast<uint64_t>(hole) - offset), 0};
}

} // namespace us
