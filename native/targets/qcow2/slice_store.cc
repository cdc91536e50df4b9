#include "targets/qcow2/slice_store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace us::qcow2 {

namespace {

constexpr uint64_t MAGIC = 0x736c62742d776371; // "qcw-tbls"
constexpr size_t PAGE = 4096;
constexpr size_t RESERVE_BYTES = 1 << 20;

size_t whole_pages(size_t bytes) {
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

} // namespace

struct SliceStore::Head {
    uint64_t magic, nr;
    uint32_t slice_bytes, doubt;
    char owner[PAGE - 24];
};

SliceStore::~SliceStore() {
    unmap();
    if (fd_ >= 0) close(fd_);
}

void SliceStore::unmap() {
    if (memory_) munmap(memory_, bytes_);
    memory_ = nullptr;
    fresh_ = reserved_ = 0;
    free_.clear();
}

int SliceStore::map(int fd) {
    static_assert(sizeof(Head) == PAGE);
    slices_at_ = PAGE + whole_pages(nr_ * sizeof(Kept));
    bytes_ = slices_at_ + nr_ * slice_bytes_;
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
    void *mapped = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (mapped == MAP_FAILED) return -errno;
    memory_ = static_cast<std::byte *>(mapped);
    return 0;
}

// How many slices there are is no part of what the file is: a disk that has grown, or another cache, must not
// cost what a predecessor had not written.
int SliceStore::open(int folder, const std::string &name, const std::string &owner,
                     std::vector<Place> &left) {
    fd_ = openat(folder, name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd_ < 0) return -errno;
    Head found{};
    bool whole = pread(fd_, &found, sizeof found, 0) == sizeof found;
    Head head{MAGIC, found.nr, slice_bytes_, found.doubt, {}};
    memcpy(head.owner, owner.data(), std::min(owner.size(), sizeof head.owner - 1));
    const uint64_t asked = nr_;
    if (whole && memcmp(&found, &head, sizeof found) == 0) {
        nr_ = found.nr;
        if (int error = take_over(left)) return error;
        if (nr_ == asked || !left.empty()) return 0;
        unmap();
    } else {
        head.doubt = 0;
    }
    head.nr = nr_ = asked;
    return make(head);
}

int SliceStore::make(const Head &head) {
    if (ftruncate(fd_, 0) != 0) return -errno;
    if (int error = map(fd_)) return error;
    if (ftruncate(fd_, static_cast<off_t>(bytes_)) != 0) return -errno;
    if (int error = posix_fallocate(fd_, 0, static_cast<off_t>(slices_at_))) return -error;
    reserved_ = slices_at_;
    memcpy(memory_, &head, sizeof head);
    return 0;
}

int SliceStore::take_over(std::vector<Place> &left) {
    struct stat st {};
    if (fstat(fd_, &st) != 0) return -errno;
    auto file_bytes = static_cast<uint64_t>(st.st_size);
    if (nr_ > file_bytes) return -EUCLEAN;
    if (int error = map(fd_)) return error;
    if (file_bytes != bytes_) return -EUCLEAN;
    if (int error = posix_fallocate(fd_, 0, static_cast<off_t>(slices_at_))) return -error;
    reserved_ = slices_at_;
    for (uint64_t i = 0; i < nr_; i++) {
        Place at = place(i);
        if (!at.kept->used) continue;
        fresh_ = i + 1;
        if (at.kept->changes != at.kept->written)
            left.push_back(at);
        else
            at.kept->used = 0;
    }
    if (fresh_ > 0) {
        if (int error = reserve(fresh_ - 1)) return error;
    }
    for (uint64_t i = 0; i < fresh_; i++)
        if (!place(i).kept->used) free_.push_back(place(i));
    return 0;
}

uint32_t &SliceStore::doubt() {
    return fd_ < 0 ? own_doubt_ : reinterpret_cast<Head *>(memory_)->doubt;
}

SliceStore::Place SliceStore::place(uint64_t index) const {
    return {reinterpret_cast<Kept *>(memory_ + PAGE) + index, memory_ + slices_at_ + index * slice_bytes_};
}

// A full tmpfs is an error now, rather than a signal at the first store.
int SliceStore::reserve(uint64_t index) {
    size_t end = slices_at_ + (index + 1) * slice_bytes_;
    if (fd_ < 0 || end <= reserved_) return 0;
    size_t until = std::min(bytes_, (end + RESERVE_BYTES - 1) / RESERVE_BYTES * RESERVE_BYTES);
    int error = posix_fallocate(fd_, static_cast<off_t>(reserved_), static_cast<off_t>(until - reserved_));
    if (error == 0) reserved_ = until;
    return -error;
}

int SliceStore::take(Place &taken) {
    if (!memory_) {
        if (int error = map(-1)) return error;
    }
    if (free_.empty()) {
        if (fresh_ == nr_) return -ENOSPC;
        if (int error = reserve(fresh_)) return error;
        free_.push_back(place(fresh_++));
    }
    taken = free_.back();
    free_.pop_back();
    return 0;
}

void SliceStore::give(const Place &given) {
    std::atomic_ref<uint32_t>(given.kept->used).store(0, std::memory_order_release);
    free_.push_back(given);
}

} // namespace us::qcow2
