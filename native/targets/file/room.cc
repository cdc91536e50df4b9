#include "targets/file/room.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace us {

namespace {

// Some hundred clusters for one system call, and little enough not to matter where space is short.
constexpr uint64_t ROOM_BYTES = 32 << 20;

} // namespace

void Room::open(int fd, uint64_t length, uint64_t limit) {
    fd_ = fd;
    limit_ = limit;
    used_ = length_ = length;
    refused_ = false;
}

void Room::keep(uint64_t end) {
    for (uint64_t used = used_.load(); used < end && !used_.compare_exchange_weak(used, end);) {
    }
}

void Room::before_write(uint64_t offset, uint64_t length) {
    uint64_t end = offset + length;
    keep(end);
    if (end + ROOM_BYTES / 2 <= length_.load(std::memory_order_relaxed)) return;
    std::lock_guard lock(mutex_);
    uint64_t from = length_.load(), until = std::min(limit_, end + ROOM_BYTES);
    if (refused_ || until <= from || end + ROOM_BYTES / 2 <= from) return;
    from = std::max(from, offset); // what is skipped stays a hole
    if (fallocate(fd_, 0, static_cast<off_t>(from), static_cast<off_t>(until - from)) != 0)
        refused_ = true; // no space for more than what is written, or a file system that cannot
    else
        length_ = until;
}

// Where the last data end, as the file system has it: some writes do not come by here, those of a program in
// the kernel. -1 when it cannot tell.
off_t Room::end_of_data() const {
    auto end = static_cast<off_t>(used_.load());
    for (;;) {
        off_t data = lseek(fd_, end, SEEK_DATA);
        if (data < 0) return errno == ENXIO ? end : -1;
        end = lseek(fd_, data, SEEK_HOLE);
        if (end <= data) return -1;
    }
}

void Room::close() {
    if (fd_ >= 0 && used_ < length_) {
        off_t end = end_of_data();
        // When that fails the file stays longer than it needs to be.
        if (end >= 0 && static_cast<uint64_t>(end) < length_) [[maybe_unused]]
            int failed = ftruncate(fd_, end);
    }
    fd_ = -1;
}

} // namespace us
