#include "targets/ofd_lock.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdint>

namespace us {

namespace {

constexpr off_t USED_BASE = 100, DENIED_BASE = 200;

// Bits of BlockPermission (QEMU include/block/block-common.h).
constexpr int CONSISTENT_READ = 0, WRITE = 1, RESIZE = 3;
constexpr int ALL[] = {CONSISTENT_READ, WRITE, RESIZE};

bool uses(int permission, bool writer) {
    return permission == CONSISTENT_READ || writer;
}
bool denies(int permission) {
    return permission != CONSISTENT_READ;
}

int set_lock(int fd, short type, off_t start, off_t length) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = start;
    lock.l_len = length;
    return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : -errno;
}

// -EAGAIN when another open file description holds a lock on the byte.
int check_free(int fd, off_t byte) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = byte;
    lock.l_len = 1;
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0) return -errno;
    return lock.l_type == F_UNLCK ? 0 : -EAGAIN;
}

int take(int fd, bool writer) {
    for (int p : ALL) {
        int error = 0;
        if (uses(p, writer)) error = set_lock(fd, F_RDLCK, USED_BASE + p, 1);
        if (error == 0 && denies(p)) error = set_lock(fd, F_RDLCK, DENIED_BASE + p, 1);
        if (error != 0) return error;
    }
    for (int p : ALL) {
        int error = 0;
        if (uses(p, writer)) error = check_free(fd, DENIED_BASE + p);
        if (error == 0 && denies(p)) error = check_free(fd, USED_BASE + p);
        if (error != 0) return error;
    }
    return 0;
}

} // namespace

int lock_image(int fd, bool writer) {
    int error = take(fd, writer);
    if (error != 0) unlock_image(fd);
    return error == -EACCES ? -EAGAIN : error;
}

void unlock_image(int fd) {
    set_lock(fd, F_UNLCK, USED_BASE, DENIED_BASE + 64 - USED_BASE);
}

} // namespace us
