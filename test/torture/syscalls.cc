// The system calls that the data plane makes, each in place of libc's own (the linker's --wrap): on files of
// the simulated kernel they are carried out here, on any other by libc.
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstring>
#include <ctime>
#include <set>

#include "kernel.h"
#include "trace.h"

namespace {

using Description = Kernel::Description;

int64_t answer(int64_t result) {
    if (result >= 0) return result;
    errno = static_cast<int>(-result);
    return -1;
}

// Mappings of no file, which are libc's.
std::set<void *> &anonymous() {
    static std::set<void *> all;
    return all;
}

Description *simulated(int fd) {
    return Kernel::current ? Kernel::current->file(fd) : nullptr;
}

Description &needed(int fd, const char *call) {
    Description *description = simulated(fd);
    if (!description) fail("%s of a file that is not simulated", call);
    return *description;
}

int open_small(Folder &folder, const std::string &name, int flags) {
    std::shared_ptr<Inode> inode = folder.find(name);
    if (!inode && !(flags & O_CREAT)) return -ENOENT;
    if (!inode) {
        inode = std::make_shared<Inode>();
        folder.set(name, inode);
    } else if (flags & O_TRUNC) {
        inode->resize(0);
        inode->synced = false;
    }
    Description description;
    description.kind = Description::small;
    description.inode = inode;
    description.in = &folder;
    return Kernel::current->new_file(std::move(description));
}

// Planted bugs: records that say what should have been remembered do not reach the folder.
bool is_forgotten(Folder &folder, Inode &inode) {
    if (&folder != &Kernel::current->world.state) return false;
    std::string text(reinterpret_cast<char *>(inode.data()), inode.size());
    Mutant mutant = Kernel::current->mutant;
    return (mutant == Mutant::drop_not_recorded && text.find("\"dropped\"") != std::string::npos) ||
           (mutant == Mutant::dirty_not_recorded && text.find("\"dirty\": true") != std::string::npos);
}

int rename_in(Folder &folder, const std::string &from, const std::string &to) {
    std::shared_ptr<Inode> inode = folder.find(from);
    if (!inode) return -ENOENT;
    bool forgotten = is_forgotten(folder, *inode);
    folder.set(from, nullptr);
    if (!forgotten) folder.set(to, inode);
    return 0;
}

// "/run/live" → the run folder and "live".
Folder *folder_of(const std::string &path, std::string &name) {
    World &world = Kernel::current->world;
    size_t slash = path.find('/', 1);
    std::string top = path.substr(0, slash);
    name = slash == std::string::npos ? "" : path.substr(slash + 1);
    if (top == "/run") return &world.run;
    if (top == "/state") return &world.state;
    return nullptr;
}

int open_path(const std::string &path, int flags) {
    World &world = Kernel::current->world;
    Description description;
    for (size_t i = 0; i < world.disks.size(); i++) {
        if (path != "/disks/" + world.disks[i].name) continue;
        if (world.disks[i].missing) return -ENOENT;
        description.kind = Description::disk;
        description.disk_index = static_cast<int>(i);
        return Kernel::current->new_file(std::move(description));
    }
    std::string name;
    Folder *folder = folder_of(path, name);
    if (!folder) return -ENOENT;
    if (!name.empty()) return open_small(*folder, name, flags);
    description.kind = Description::folder;
    description.in = folder;
    return Kernel::current->new_file(std::move(description));
}

} // namespace

extern "C" {

int __wrap_open(const char *path, int flags, ...) {
    return static_cast<int>(answer(open_path(path, flags)));
}

int __wrap_openat(int folder, const char *name, int flags, ...) {
    Description &description = needed(folder, "openat");
    bool creates = flags & O_CREAT;
    if (creates && Kernel::current->state_fails()) return static_cast<int>(answer(-ENOSPC));
    return static_cast<int>(answer(open_small(*description.in, name, flags)));
}

int __real_close(int fd);
int __wrap_close(int fd) {
    Description *description = simulated(fd);
    if (!description) return __real_close(fd);
    *description = {};
    return 0;
}

ssize_t __wrap_read(int fd, void *buffer, size_t length) {
    Description &description = needed(fd, "read");
    Inode &inode = *description.inode;
    size_t n = std::min(length, inode.size() - description.position);
    if (n) memcpy(buffer, inode.data() + description.position, n);
    description.position += n;
    return static_cast<ssize_t>(n);
}

ssize_t __real_write(int fd, const void *buffer, size_t length);
ssize_t __wrap_write(int fd, const void *buffer, size_t length) {
    Description *description = simulated(fd);
    if (!description) return __real_write(fd, buffer, length);
    if (description->kind == Description::event) {
        uint64_t added;
        memcpy(&added, buffer, sizeof added);
        description->counter += added;
        Kernel::current->event_written(fd);
        return sizeof added;
    }
    if (Kernel::current->state_fails()) return answer(-ENOSPC);
    description->inode->append(buffer, length);
    return static_cast<ssize_t>(length);
}

int __wrap_fsync(int fd) {
    Description &description = needed(fd, "fsync");
    bool fails = Kernel::current->state_fails();
    if (fails) return static_cast<int>(answer(-EIO));
    if (Kernel::current->mutant == Mutant::state_not_flushed) return 0;
    if (description.kind == Description::folder)
        description.in->flush();
    else
        description.inode->synced = true;
    return 0;
}

int __wrap_fdatasync(int fd) {
    Description &description = needed(fd, "fdatasync");
    Kernel::current->crash_point();
    return static_cast<int>(answer(Kernel::current->flush(description.disk_index, UINT64_MAX)));
}

int __wrap_renameat(int from_folder, const char *from, int, const char *to) {
    Description &description = needed(from_folder, "renameat");
    if (Kernel::current->state_fails()) return static_cast<int>(answer(-EIO));
    int result = rename_in(*description.in, from, to);
    STEP("  %s is replaced", to);
    return static_cast<int>(answer(result));
}

int __wrap_rename(const char *from, const char *to) {
    std::string from_name, to_name;
    Folder *folder = folder_of(from, from_name);
    folder_of(to, to_name);
    if (!folder) return static_cast<int>(answer(-ENOENT));
    return static_cast<int>(answer(rename_in(*folder, from_name, to_name)));
}

int __wrap_unlinkat(int folder, const char *name, int) {
    Description &description = needed(folder, "unlinkat");
    if (!description.in->find(name)) return static_cast<int>(answer(-ENOENT));
    description.in->set(name, nullptr);
    return 0;
}

int __wrap_fcntl(int fd, int command, ...) {
    Description &description = needed(fd, "fcntl");
    if (command != F_OFD_GETLK) return command == F_GETFL ? O_RDWR : 0;
    va_list arguments;
    va_start(arguments, command);
    auto *lock = va_arg(arguments, struct flock *);
    va_end(arguments);
    if (!Kernel::current->is_locked(description.disk_index)) lock->l_type = F_UNLCK;
    return 0;
}

int __wrap_fstat(int fd, struct stat *out) {
    Description &description = needed(fd, "fstat");
    *out = {};
    out->st_mode = S_IFREG | 0600;
    if (description.kind == Description::disk) {
        const Disk &disk = Kernel::current->world.disks[static_cast<size_t>(description.disk_index)];
        out->st_size = static_cast<off_t>(disk.length());
    } else {
        out->st_size = static_cast<off_t>(description.inode->size());
    }
    return 0;
}

int __wrap_fstatfs(int fd, struct statfs *out) {
    needed(fd, "fstatfs");
    *out = {};
    out->f_type = EXT4_SUPER_MAGIC;
    return 0;
}

// statx alone: inode, time of birth and direct IO in sectors.
long __wrap_syscall(long number, ...) {
    if (number != SYS_statx) fail("the simulated kernel does not know system call %ld", number);
    va_list arguments;
    va_start(arguments, number);
    int fd = va_arg(arguments, int);
    va_arg(arguments, const char *);
    va_arg(arguments, int);
    va_arg(arguments, unsigned);
    auto *out = va_arg(arguments, struct statx *);
    va_end(arguments);
    Description &description = needed(fd, "statx");
    memset(out, 0, sizeof *out);
    out->stx_mask = STATX_INO | STATX_BTIME | STATX_DIOALIGN;
    out->stx_ino = static_cast<uint64_t>(description.disk_index) + 1;
    out->stx_btime.tv_sec = 1;
    out->stx_dio_mem_align = out->stx_dio_offset_align = SECTOR;
    return 0;
}

ssize_t __wrap_pread(int fd, void *buffer, size_t length, off_t offset) {
    Description &description = needed(fd, "pread");
    if (Inode *inode = description.inode.get()) {
        auto at = std::min(inode->size(), static_cast<size_t>(offset));
        size_t n = std::min(length, inode->size() - at);
        if (n) memcpy(buffer, inode->data() + at, n);
        return static_cast<ssize_t>(n);
    }
    return answer(Kernel::current->transfer(description.disk_index, false, static_cast<uint64_t>(offset),
                                            length, static_cast<std::byte *>(buffer), false));
}

ssize_t __wrap_pwritev2(int fd, const iovec *parts, int nr, off_t offset, int flags) {
    Description &description = needed(fd, "pwritev2");
    if (nr != 1) fail("pwritev2 of several parts");
    Kernel::current->crash_point();
    return answer(Kernel::current->transfer(description.disk_index, true, static_cast<uint64_t>(offset),
                                            parts->iov_len, static_cast<std::byte *>(parts->iov_base),
                                            flags & RWF_DSYNC));
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t length) {
    Description &description = needed(fd, "fallocate");
    return static_cast<int>(answer(Kernel::current->zero(
        description.disk_index, mode, static_cast<uint64_t>(offset), static_cast<uint64_t>(length))));
}

int __wrap_posix_fallocate(int fd, off_t offset, off_t length) {
    Inode &inode = *needed(fd, "posix_fallocate").inode;
    inode.resize(std::max(inode.size(), static_cast<size_t>(offset + length)));
    return 0;
}

off_t __wrap_lseek(int fd, off_t offset, int whence) {
    Description *description = simulated(fd);
    if (!description) return static_cast<off_t>(answer(-EBADF)); // of a leaf that could not be opened
    const Disk &disk = Kernel::current->world.disks[static_cast<size_t>(description->disk_index)];
    for (size_t sector = static_cast<size_t>(offset) / SECTOR; sector < disk.length() / SECTOR; sector++)
        if ((disk.cache[sector] != 0) == (whence == SEEK_DATA))
            return std::max(offset, static_cast<off_t>(sector * SECTOR));
    return whence == SEEK_DATA ? static_cast<off_t>(answer(-ENXIO)) : static_cast<off_t>(disk.length());
}

int __wrap_ftruncate(int fd, off_t length) {
    Inode *inode = needed(fd, "ftruncate").inode.get();
    if (!inode) return static_cast<int>(answer(-EPERM)); // a disk stays as long as it has become
    inode->resize(static_cast<size_t>(length));
    inode->synced = false;
    return 0;
}

int __wrap_faccessat(int folder, const char *name, int, int) {
    Description &description = needed(folder, "faccessat");
    return static_cast<int>(answer(description.in->find(name) ? 0 : -ENOENT));
}

// The file may get its length later, as long as it is not touched before.
void *__real_mmap(void *, size_t length, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t length);
void *__wrap_mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    if (flags & MAP_ANONYMOUS) {
        void *mapped = __real_mmap(at, length, protection, flags, fd, offset);
        if (mapped != MAP_FAILED) anonymous().insert(mapped);
        return mapped;
    }
    Inode &inode = *needed(fd, "mmap").inode;
    inode.reserve(length);
    return inode.data();
}

int __wrap_munmap(void *at, size_t length) {
    return anonymous().erase(at) ? __real_munmap(at, length) : 0; // inodes keep their memory
}

int __wrap_eventfd(unsigned, int) {
    Description description;
    description.kind = Description::event;
    return Kernel::current->new_file(std::move(description));
}

int __wrap_nanosleep(const timespec *time, timespec *) {
    Kernel::current->let_pass(static_cast<uint64_t>(time->tv_sec) * 1'000'000'000 +
                              static_cast<uint64_t>(time->tv_nsec));
    return 0;
}

int __wrap_getentropy(void *buffer, size_t length) {
    for (size_t i = 0; i < length; i++)
        static_cast<unsigned char *>(buffer)[i] = static_cast<unsigned char>(Kernel::current->prng.next());
    return 0;
}

int __wrap_clock_gettime(clockid_t, timespec *out) {
    out->tv_sec = static_cast<time_t>(1'700'000'000 + Kernel::current->now_ns / 1'000'000'000);
    out->tv_nsec = static_cast<long>(Kernel::current->now_ns % 1'000'000'000);
    return 0;
}

// Of the case as well as of the simulator.
std::chrono::system_clock::time_point __real__ZNSt6chrono3_V212system_clock3nowEv();
std::chrono::system_clock::time_point __wrap__ZNSt6chrono3_V212system_clock3nowEv() {
    if (!Kernel::current) return __real__ZNSt6chrono3_V212system_clock3nowEv();
    return std::chrono::system_clock::time_point(std::chrono::nanoseconds(Kernel::current->now_ns));
}

std::chrono::steady_clock::time_point __wrap__ZNSt6chrono3_V212steady_clock3nowEv() {
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(Kernel::current->now_ns));
}
}
