#include "server/sandbox.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string>

#include "engine/log.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57 // Linux 5.6
#endif

namespace us {

namespace {

void refused(const char *what) {
    log(Level::warn, std::string(what) + ": " + strerror(errno));
}

bool is_root() {
    return geteuid() == 0;
}

// Brings all code and constants into memory.
void populate_code() {
    FILE *maps = fopen("/proc/self/maps", "re");
    if (maps == nullptr) return refused("cannot read /proc/self/maps");
    char line[512];
    while (fgets(line, sizeof(line), maps)) {
        uintptr_t begin, end;
        char mode[5];
        unsigned long inode;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %lu", &begin, &end, mode, &inode) != 4)
            continue;
        if (inode == 0 || mode[0] != 'r' || mode[1] == 'w') continue;
        // Pages beyond a file's end cannot be read; nothing executes there.
        madvise(reinterpret_cast<void *>(begin), end - begin, MADV_POPULATE_READ);
    }
    fclose(maps);
}

} // namespace

void become_io_flusher() {
    if (!is_root()) return;
    if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0)
        refused("no IO flusher: memory reclaim may wait for the device that this process serves");
    rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_MEMLOCK, &unlimited) != 0) refused("cannot lift the limit of locked memory");
}

void lock_memory() {
    if (!is_root()) return;
    populate_code();
    // Under a limit, what is asked for later would be refused altogether once CAP_IPC_LOCK is gone.
    rlimit limit{};
    bool unlimited = getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
    int later = unlimited ? MCL_FUTURE : 0;
    if (mlockall(MCL_CURRENT | later | MCL_ONFAULT) != 0) refused("cannot lock memory");
}

void enter_empty_root(const char *folder) {
    if (!is_root()) return;
    if (unshare(CLONE_NEWNS) != 0) return refused("no mount namespace of its own");
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
        return refused("cannot make the mount namespace private");
    if (mount("ublk-stack", folder, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "size=4k,nr_inodes=2,mode=0500") != 0)
        return refused("cannot mount an empty root");
    // pivot_root(".", ".") stacks the old root on the new one, from where it is taken off (pivot_root(2),
    // notes).
    if (chdir(folder) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 ||
        chdir("/") != 0)
        refused("cannot move to an empty root: file systems of the host stay busy while this process lives");
}

} // namespace us
