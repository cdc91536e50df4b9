#include "engine/bounce.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <coroutine>

#include "engine/completion.h"
#include "engine/queue.h"

namespace us {

namespace {

constexpr uint64_t PLACE_BYTES = 1 << 20; // what requests have at most that are not copied anyway

} // namespace

struct Bounce::Copy : Completion {
    Queue &queue;
    bool from_request;
    int file;
    IoBuffer buffer;
    uint64_t bytes, offset;
    std::coroutine_handle<> waiter{};
    int32_t result = 0;

    Copy(Queue &q, bool from, int f, const IoBuffer &b, uint64_t n, uint64_t at)
        : queue(q), from_request(from), file(f), buffer(b), bytes(n), offset(at) {}

    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> caller) {
        waiter = caller;
        fn = [](Completion &self, int32_t result, uint32_t) {
            auto &copy = static_cast<Copy &>(self);
            copy.result = result;
            copy.waiter.resume();
        };
        io_uring_sqe *sqe = queue.prepare(*this);
        auto *at = reinterpret_cast<void *>(buffer.fixed_offset);
        auto n = static_cast<unsigned>(bytes);
        if (from_request)
            io_uring_prep_write_fixed(sqe, file, at, n, offset, buffer.fixed_index);
        else
            io_uring_prep_read_fixed(sqe, file, at, n, offset, buffer.fixed_index);
    }
    int32_t await_resume() const noexcept { return result; }
};

Bounce::~Bounce() {
    for (const Place &place : all_)
        munmap(place.data, PLACE_BYTES);
    if (file_ >= 0) close(file_);
}

Bounce::Place Bounce::take() {
    if (!free_.empty()) {
        Place place = free_.back();
        free_.pop_back();
        return place;
    }
    if (file_ < 0) file_ = memfd_create("ublk-stack-bounce", MFD_CLOEXEC);
    Place place;
    place.offset = all_.size() * PLACE_BYTES;
    void *at = MAP_FAILED;
    if (file_ >= 0 && ftruncate(file_, static_cast<off_t>(place.offset + PLACE_BYTES)) == 0)
        at = mmap(nullptr, PLACE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file_,
                  static_cast<off_t>(place.offset));
    if (at == MAP_FAILED) {
        place.error = -errno;
        return place;
    }
    place.data = static_cast<std::byte *>(at);
    all_.push_back(place);
    return place;
}

Task<int> Bounce::fetch(const LeafIo &io, const Place &place) {
    return copy(true, io.buffer, io.length, place.offset);
}

Task<int> Bounce::put_back(const LeafIo &io, uint64_t bytes, const Place &place) {
    return copy(false, io.buffer, bytes, place.offset);
}

Task<int> Bounce::copy(bool from_request, const IoBuffer &buffer, uint64_t bytes, uint64_t offset) {
    if (bytes > PLACE_BYTES) co_return -EIO;
    for (uint64_t done = 0; done < bytes;) {
        Copy step(queue_, from_request, file_, buffer.at(done), bytes - done, offset + done);
        int32_t n = co_await step;
        if (n == -EINTR || n == -EAGAIN) continue;
        if (n <= 0) co_return n < 0 ? n : -EIO;
        done += static_cast<uint64_t>(n);
    }
    co_return 0;
}

} // namespace us
