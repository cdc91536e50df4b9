#include "targets/file/file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "targets/ofd_lock.h"
#include "targets/wait_for.h"

namespace us {

namespace {

// glibc's struct statx of Debian 12 ends before the fields on direct IO, so the kernel's own is asked for.
int kernel_statx(int fd, unsigned mask, struct statx &out) {
    memset(&out, 0, sizeof out);
    return syscall(SYS_statx, fd, "", 0x1000 /* AT_EMPTY_PATH */, mask, &out) == 0 ? 0 : -errno;
}

} // namespace

void FileLeaf::open(const OpenContext &context) {
    bool writer = !config().read_only;
    int error = try_open(writer ? O_RDWR : O_RDONLY);
    if (error == -EISDIR) refuse_path("not-a-file", path() + " is a directory");
    if (error != 0) refuse_errno(-error, "cannot open");

    struct stat st {};
    if (fstat(fd_, &st) != 0) refuse_errno(errno, "cannot look at");
    if (!S_ISREG(st.st_mode)) refuse_path("not-a-file", path() + " is not a regular file");

    error = wait_while(-EAGAIN, context, "the lock of " + path(), [&] { return lock_image(fd_, writer); });
    if (error == -EAGAIN) refuse_path("path-in-use", path() + " is in use by another process");
    if (error != 0) refuse_errno(-error, "cannot lock");

    if (!grows_) check_size();
    struct statfs fs {};
    if (fstatfs(fd_, &fs) != 0) refuse_errno(errno, "cannot look at the file system of");
    in_memory_ = fs.f_type == TMPFS_MAGIC;
    if (memory_ && !in_memory_) refuse_path("server-start", path() + " is not on a tmpfs");
    choose_direct();
    if (grows_ && direct_ && writer) room_.open(fd_, static_cast<uint64_t>(st.st_size), config().size);
    identify(context);
}

void FileLeaf::close() {
    room_.close();
    FdLeaf::close();
}

void FileLeaf::prepare(io_uring_sqe *sqe, int file, const LeafIo &io) const {
    if (grows_ && direct_ && io.op == US_OP_WRITE) room_.before_write(io.offset, io.length);
    if (grows_ && direct_ && io.op == US_OP_WRITE_ZEROES) room_.keep(io.offset + io.length);
    FdLeaf::prepare(sqe, file, io);
}

void FileLeaf::check_size() const {
    struct stat st {};
    if (fstat(fd_, &st) != 0) refuse_errno(errno, "cannot look at");
    if (static_cast<uint64_t>(st.st_size) < config().size)
        refuse_path("file-too-small", path() + " has " + std::to_string(st.st_size) + " bytes, and " +
                                          std::to_string(config().size) + " are needed");
}

uint64_t FileLeaf::length() const {
    struct stat st {};
    if (!grows_ || fstat(fd_, &st) != 0) return config().size;
    return static_cast<uint64_t>(st.st_size);
}

void FileLeaf::choose_direct() {
    std::string wanted = config().params.value("direct", "auto");
    if (in_memory_ || wanted == "off" || (wanted == "auto" && !config().direct_preferred)) {
        if (wanted == "on")
            refuse_path("direct-unsupported", path() + " is on a tmpfs, which has no direct IO");
        return;
    }
    uint32_t block = config().geometry.logical_block;
    struct statx sx;
    bool fits = true; // before 6.1 nobody tells: then opening with O_DIRECT decides
    if (kernel_statx(fd_, STATX_DIOALIGN, sx) == 0 && (sx.stx_mask & STATX_DIOALIGN))
        fits =
            sx.stx_dio_offset_align != 0 && sx.stx_dio_offset_align <= block && sx.stx_dio_mem_align <= block;
    int flags = fcntl(fd_, F_GETFL);
    direct_ = fits && flags >= 0 && fcntl(fd_, F_SETFL, flags | O_DIRECT) == 0;
    if (!direct_ && wanted == "on")
        refuse_path("direct-unsupported",
                    path() + " cannot be accessed directly in blocks of " + std::to_string(block) + " bytes");
}

void FileLeaf::identify(const OpenContext &context) {
    struct statx sx;
    if (kernel_statx(fd_, STATX_INO | STATX_BTIME, sx) != 0) refuse_errno(errno, "cannot look at");
    identity_ = memory_ ? "memory:" : "file:";
    identity_ += std::to_string(sx.stx_ino);
    // Device numbers may change at a reboot; inode and time of birth together do not, and no two files share
    // them.
    if (sx.stx_mask & STATX_BTIME)
        identity_ += ":" + std::to_string(sx.stx_btime.tv_sec) + "." + std::to_string(sx.stx_btime.tv_nsec);
    else
        identity_ += ":dev" + std::to_string(sx.stx_dev_major) + ":" + std::to_string(sx.stx_dev_minor);
    if (memory_) identity_ += ":boot:" + context.boot_id; // inode numbers of a new tmpfs begin anew
}

} // namespace us
