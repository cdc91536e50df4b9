#include "frontends/ublk/kernel_ring.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace us::ublk {

namespace {

// include/uapi/linux/io_uring.h of Linux 7.3, as far as Debian 12's header lacks it.
constexpr uint32_t SETUP_SINGLE_ISSUER = 1u << 12, SETUP_DEFER_TASKRUN = 1u << 13,
                   SETUP_NO_SQARRAY = 1u << 16;
constexpr unsigned REGISTER_MEM_REGION = 34;
constexpr uint32_t REGION_TYPE_USER = 1;

struct region_desc {
    uint64_t user_addr, size;
    uint32_t flags, id;
    uint64_t mmap_offset, reserved[4];
};
struct mem_region_reg {
    uint64_t region; // address of a region_desc
    uint64_t flags, reserved[2];
};

[[noreturn]] void fail(const char *what) {
    throw std::system_error(errno, std::generic_category(), what);
}

void do_register(int fd, unsigned op, const void *argument, unsigned count, const char *what) {
    if (syscall(SYS_io_uring_register, fd, op, argument, count) < 0) fail(what);
}

void *map(int fd, size_t bytes, uint64_t offset) {
    void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
                    static_cast<off_t>(offset));
    if (at == MAP_FAILED) fail("cannot map the ring");
    return at;
}

} // namespace

KernelRing::KernelRing(uint32_t sq_entries, uint32_t cq_entries) {
    io_uring_params params{};
    params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED |
                   SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN | SETUP_NO_SQARRAY;
    params.cq_entries = cq_entries;
    fd_ = static_cast<int>(syscall(SYS_io_uring_setup, sq_entries, &params));
    if (fd_ < 0) fail("io_uring_setup");
    sq_entries_ = params.sq_entries;
    cq_entries_ = params.cq_entries;
    offsets_ = {params.sq_off.head, params.sq_off.tail, params.cq_off.head, params.cq_off.tail,
                params.cq_off.cqes};
    words_bytes_ = params.cq_off.cqes + cq_entries_ * sizeof(io_uring_cqe);
    words_ = static_cast<std::byte *>(map(fd_, words_bytes_, IORING_OFF_SQ_RING));
    sqes_bytes_ = sq_entries_ * sizeof(io_uring_sqe);
    sqes_ = static_cast<io_uring_sqe *>(map(fd_, sqes_bytes_, IORING_OFF_SQES));
}

KernelRing::~KernelRing() {
    if (sqes_ != nullptr) munmap(sqes_, sqes_bytes_);
    if (words_ != nullptr) munmap(words_, words_bytes_);
    if (fd_ >= 0) close(fd_);
}

void KernelRing::describe(us_loop_config &config) const {
    config.sq_entries = sq_entries_;
    config.cq_entries = cq_entries_;
    config.sq_mask = sq_entries_ - 1;
    config.cq_mask = cq_entries_ - 1;
    config.sq_head = offsets_.sq_head;
    config.sq_tail = offsets_.sq_tail;
    config.cq_head = offsets_.cq_head;
    config.cq_tail = offsets_.cq_tail;
    config.cq_cqes = offsets_.cq_cqes;
}

void KernelRing::register_files(const std::vector<int> &fds) {
    do_register(fd_, IORING_REGISTER_FILES, fds.data(), static_cast<unsigned>(fds.size()),
                "cannot register files with the ring");
}

void KernelRing::register_buffers(uint32_t nr) {
    io_uring_rsrc_register places{};
    places.nr = nr;
    places.flags = IORING_RSRC_REGISTER_SPARSE;
    do_register(fd_, IORING_REGISTER_BUFFERS2, &places, sizeof(places),
                "cannot register buffers with the ring");
}

void KernelRing::register_region(void *memory, size_t bytes) {
    region_desc region{};
    region.user_addr = reinterpret_cast<uintptr_t>(memory);
    region.size = bytes;
    region.flags = REGION_TYPE_USER;
    mem_region_reg argument{};
    argument.region = reinterpret_cast<uintptr_t>(&region);
    do_register(fd_, REGISTER_MEM_REGION, &argument, 1, "cannot share memory with the ring");
}

void KernelRing::enable() {
    do_register(fd_, IORING_REGISTER_ENABLE_RINGS, nullptr, 0, "cannot enable the ring");
}

io_uring_sqe *KernelRing::first_entry() {
    std::atomic_ref<uint32_t> tail(*reinterpret_cast<uint32_t *>(words_ + offsets_.sq_tail));
    uint32_t at = tail.load(std::memory_order_relaxed);
    io_uring_sqe *sqe = &sqes_[at & (sq_entries_ - 1)];
    memset(sqe, 0, sizeof(*sqe));
    tail.store(at + 1, std::memory_order_release);
    return sqe;
}

int KernelRing::run() {
    long result = syscall(SYS_io_uring_enter, fd_, 0, 0, IORING_ENTER_GETEVENTS, nullptr, 0);
    return result < 0 ? -errno : static_cast<int>(result);
}

} // namespace us::ublk
