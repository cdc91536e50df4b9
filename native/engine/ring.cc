// The ring of a queue and the loop around it.
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <system_error>

#include "engine/graph.h"
#include "engine/graph_impl.h"
#include "engine/queue_impl.h"
#include "engine/scheduling.h"

namespace us {

namespace {

constexpr uint32_t FRONTEND_FILES = 16; // free places behind the leaves' in the table of registered files

void check(int result, const char *what) {
    if (result < 0) throw std::system_error(-result, std::generic_category(), what);
}

uint32_t default_entries(uint32_t depth) {
    return std::clamp<uint32_t>(std::bit_ceil(depth * 2), 64, 4096);
}

} // namespace

void Queue::Impl::set_up_ring() {
    uint32_t entries = options.ring_entries ? options.ring_entries : default_entries(options.depth);
    constexpr uint32_t ANY = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL;
    constexpr uint32_t BEST = ANY | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN; // since 6.1
    int result = -EINVAL;
    for (uint32_t flags : {BEST, ANY}) {
        if (result != -EINVAL) break;
        io_uring_params params{};
        params.flags = flags;
        params.cq_entries = std::min<uint32_t>(entries * 4, 65536);
        result = io_uring_queue_init_params(entries, &ring, &params);
    }
    check(result, "io_uring_setup");
}

void Queue::Impl::register_resources() {
    std::vector<int> files;
    for (uint32_t i = 0; i < graph.table().nr_layers; i++) {
        Leaf *leaf = graph.impl().targets[i]->leaf();
        file_index_[i] = static_cast<int>(files.size());
        if (leaf) files.push_back(leaf->fd());
    }
    frontend_file = static_cast<uint32_t>(files.size());
    files.insert(files.end(), FRONTEND_FILES, -1);
    check(io_uring_register_files(&ring, files.data(), static_cast<unsigned>(files.size())),
          "io_uring_register_files");
    if (options.fixed_buffers)
        check(io_uring_register_buffers_sparse(&ring, options.fixed_buffers), "io_uring_register_buffers");
}

void Queue::Impl::arm_wake() {
    wake_read.impl = this;
    wake_read.fn = [](Completion &self, int32_t, uint32_t) {
        Impl &impl = *static_cast<Wake &>(self).impl;
        impl.arm_wake();
        impl.run_posted();
    };
    io_uring_sqe *sqe = queue.prepare(wake_read);
    io_uring_prep_read(sqe, wake_fd, &wake_read.value, sizeof wake_read.value, 0);
}

void Queue::Impl::wake() {
    uint64_t one = 1;
    // Fails only when the counter is full, and then the reader is being woken anyway.
    [[maybe_unused]] ssize_t written = write(wake_fd, &one, sizeof one);
}

void Queue::Impl::run_posted() {
    std::vector<std::function<void()>> now;
    {
        std::lock_guard lock(posted_mutex);
        now.swap(posted);
    }
    for (auto &fn : now)
        fn();
}

void Queue::Impl::note_crowd(uint64_t before) {
    uint64_t requests = before + begun;
    begun = 0;
    if (requests == 0 || !us_crowd_turn(&crowd, requests)) return;
    counters->crowded.store(crowd.crowded, std::memory_order_relaxed);
    schedule_for_crowds(pthread_self(), crowd.crowded);
}

void Queue::Impl::turn() {
    io_uring_cqe *cqe;
    uint64_t before = counters->in_flight.get();
    int result;
    int64_t wait_ns = executor.next_pause_end();
    if (wait_ns < 0) {
        result = io_uring_submit_and_wait(&ring, 1);
    } else {
        __kernel_timespec limit{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
        result = io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &limit, nullptr);
    }
    counters->enters.add(1);
    bool again = result == -ETIME || result == -EINTR || result == -EAGAIN || result == -EBUSY;
    if (!again) check(result, "io_uring_enter");
    unsigned head, seen = 0;
    io_uring_for_each_cqe(&ring, head, cqe) {
        auto *completion = reinterpret_cast<Completion *>(static_cast<uintptr_t>(cqe->user_data));
        if (completion) completion->fn(*completion, cqe->res, cqe->flags);
        seen++;
    }
    io_uring_cq_advance(&ring, seen);
    executor.end_pauses();
    resume_waiting();
    note_crowd(before);
}

// Under the lock, so that whoever called post() or stop() last has no more to do with this queue.
bool Queue::Impl::has_ended() {
    if (busy != 0 || !stopping.load(std::memory_order_acquire)) return false;
    std::lock_guard lock(posted_mutex);
    return posted.empty();
}

void Queue::Impl::run_until(const std::function<bool()> &done) {
    while (!done())
        turn();
}

} // namespace us
