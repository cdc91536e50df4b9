#include "targets/cow/overlay_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

namespace us {

namespace {

constexpr uint64_t MAGIC = 0x70616d2d776f6375; // "ucow-map"
constexpr size_t PAGE = 4096;

} // namespace

struct OverlayMap::Head {
    uint64_t magic;
    uint64_t nr_granules;
    uint64_t resetting;
    char asked_by[128];
    char owner[PAGE - 152];
};

OverlayMap::~OverlayMap() {
    if (head_) munmap(head_, bytes_);
}

int OverlayMap::open(const std::string &path, const std::string &owner, uint64_t nr_granules, bool &fresh) {
    static_assert(sizeof(Head) == PAGE);
    nr_granules_ = nr_granules;
    bytes_ = PAGE + (nr_granules + 63) / 64 * 8;
    int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return -errno;
    Head wanted{MAGIC, nr_granules, 0, {}, {}}, found{};
    memcpy(wanted.owner, owner.data(), std::min(owner.size(), sizeof wanted.owner - 1));
    struct stat st {};
    fresh = fstat(fd, &st) != 0 || static_cast<size_t>(st.st_size) != bytes_ ||
            pread(fd, &found, sizeof found, 0) != sizeof found || found.magic != MAGIC ||
            found.nr_granules != nr_granules || memcmp(found.owner, wanted.owner, sizeof found.owner) != 0;
    int error = 0;
    if (fresh && ftruncate(fd, 0) != 0) error = errno;
    // Allocated, so that a full tmpfs is an error now rather than SIGBUS later.
    if (error == 0) error = posix_fallocate(fd, 0, static_cast<off_t>(bytes_));
    void *mapped = MAP_FAILED;
    if (error == 0) mapped = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (error == 0 && mapped == MAP_FAILED) error = errno;
    close(fd);
    if (error != 0) return -error;

    head_ = static_cast<Head *>(mapped);
    words_ = reinterpret_cast<uint64_t *>(static_cast<std::byte *>(mapped) + PAGE);
    if (fresh) *head_ = wanted;
    uint64_t bits = 0;
    for (uint64_t i = 0; i < (nr_granules + 63) / 64; i++)
        bits += static_cast<uint64_t>(std::popcount(words_[i]));
    count_ = bits;
    return 0;
}

std::atomic_ref<uint64_t> OverlayMap::word(uint64_t granule) const {
    return std::atomic_ref<uint64_t>(words_[granule / 64]);
}

bool OverlayMap::has(uint64_t granule) const {
    return word(granule).load(std::memory_order_acquire) >> granule % 64 & 1;
}

void OverlayMap::add(uint64_t first, uint64_t end) {
    for (uint64_t at = first; at < end;) {
        uint64_t bits = std::min(end - at, 64 - at % 64);
        uint64_t mask = (bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1) << at % 64;
        uint64_t before = word(at).fetch_or(mask, std::memory_order_acq_rel);
        count_.fetch_add(static_cast<uint64_t>(std::popcount(mask & ~before)), std::memory_order_relaxed);
        at += bits;
    }
}

uint64_t OverlayMap::run_end(uint64_t from, uint64_t end, bool has) const {
    for (uint64_t at = from; at < end;) {
        uint64_t word = this->word(at).load(std::memory_order_acquire);
        uint64_t others = (has ? ~word : word) >> at % 64;
        if (others != 0) return std::min(end, at + static_cast<uint64_t>(std::countr_zero(others)));
        at += 64 - at % 64;
    }
    return end;
}

void OverlayMap::begin_reset() {
    std::atomic_ref<uint64_t>(head_->resetting).store(1);
    for (uint64_t i = 0; i < nr_granules_; i += 64)
        word(i).store(0, std::memory_order_release);
    count_ = 0;
}

void OverlayMap::end_reset(const std::string &asked_by) {
    memset(head_->asked_by, 0, sizeof head_->asked_by);
    memcpy(head_->asked_by, asked_by.data(), std::min(asked_by.size(), sizeof head_->asked_by - 1));
    std::atomic_ref<uint64_t>(head_->resetting).store(0);
}

bool OverlayMap::resetting() const {
    return std::atomic_ref<uint64_t>(head_->resetting).load() != 0;
}

std::string OverlayMap::asked_by() const {
    return {head_->asked_by, strnlen(head_->asked_by, sizeof head_->asked_by)};
}

} // namespace us
