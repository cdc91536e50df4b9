#include "frontends/nbd/worker.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "engine/log.h"
#include "frontends/nbd/connection.h"
#include "frontends/nbd/server.h"

namespace us::nbd {

int64_t now_ms() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// A timer that is armed only while somebody needs it: an idle server sleeps.
struct Worker::Tick : Completion {
    Worker *worker = nullptr;
    __kernel_timespec interval{1, 0};
    bool armed = false;
};

Worker::Worker(Service &service, uint32_t index)
    : service_(service), index_(index), tick_(std::make_unique<Tick>()) {
    tick_->worker = this;
    tick_->fn = [](Completion &self, int32_t, uint32_t) { static_cast<Tick &>(self).worker->tick(); };
    for (uint32_t tag = NbdServer::queue_depth; tag-- > 0;)
        free_tags_.push_back(tag);
}

Worker::~Worker() = default;

void Worker::open() {
    QueueOptions options;
    options.index = index_;
    options.depth = NbdServer::queue_depth;
    queue_ = std::make_unique<Queue>(service_.graph, options);
}

void Worker::run() {
    queue_->run();
    offload_.reset();
}

void Worker::close() {
    queue_.reset();
}

void Worker::add(int input, int output) {
    if (stopping_) {
        ::close(input);
        if (output != input) ::close(output);
        nr_connections_.fetch_sub(1, std::memory_order_relaxed);
        return;
    }
    connections_.push_back(std::make_unique<Connection>(*this, input, output));
    connections_.back()->start();
}

void Worker::stop() {
    stopping_ = ending_ = true;
    // A connection that is over leaves the list later, so it does not change under the loop.
    for (auto &connection : connections_)
        connection->stop();
    end_if_empty();
}

void Worker::end_with_last_client() {
    ending_ = true;
    end_if_empty();
}

void Worker::end_if_empty() {
    if (ending_ && connections_.empty()) queue_->stop();
}

int32_t Worker::take_tag(Transmission &waiter) {
    if (!free_tags_.empty()) {
        uint32_t tag = free_tags_.back();
        free_tags_.pop_back();
        return static_cast<int32_t>(tag);
    }
    if (!waiter.waiting) {
        waiter.waiting = true;
        waiter.next_waiting = nullptr;
        (waiting_last_ ? waiting_last_->next_waiting : waiting_first_) = &waiter;
        waiting_last_ = &waiter;
    }
    return -1;
}

void Worker::give_tag(uint32_t tag) {
    free_tags_.push_back(tag);
    if (waking_) return; // the loop below, further up the stack, sees it
    waking_ = true;
    while (waiting_first_ && !free_tags_.empty()) {
        Transmission *waiter = waiting_first_;
        forget_waiter(*waiter);
        waiter->tag_free();
    }
    waking_ = false;
}

void Worker::forget_waiter(Transmission &waiter) {
    if (!waiter.waiting) return;
    waiter.waiting = false;
    Transmission *before = nullptr;
    for (Transmission *t = waiting_first_; t != &waiter; t = t->next_waiting)
        before = t;
    (before ? before->next_waiting : waiting_first_) = waiter.next_waiting;
    if (waiting_last_ == &waiter) waiting_last_ = before;
}

void Worker::offload(std::function<void()> work, std::function<void()> done) {
    if (!offload_) offload_ = std::make_unique<Offload>();
    offload_->give([this, work = std::move(work), done = std::move(done)] {
        work();
        post(done);
    });
}

void Worker::complain(std::string_view what) {
    int64_t now = now_ms();
    if (now - complained_at_ms_ < 1000) {
        complaints_held_back_++;
        return;
    }
    std::string text = "NBD client let go: " + std::string(what);
    if (complaints_held_back_) text += " (and " + std::to_string(complaints_held_back_) + " more)";
    log(Level::warn, text);
    complained_at_ms_ = now;
    complaints_held_back_ = 0;
}

void Worker::retire(Connection &connection) {
    post([this, &connection] {
        std::erase_if(connections_, [&](const auto &c) { return c.get() == &connection; });
        nr_connections_.fetch_sub(1, std::memory_order_relaxed);
        if (connections_.empty()) buffers_.trim();
        end_if_empty();
    });
}

void Worker::at_tick(std::function<void()> fn) {
    at_tick_.push_back(std::move(fn));
    want_ticks();
}

void Worker::want_ticks() {
    if (tick_->armed) return;
    tick_->armed = true;
    io_uring_prep_timeout(queue_->prepare(*tick_), &tick_->interval, 0, 0);
}

void Worker::tick() {
    tick_->armed = false;
    std::vector<std::function<void()>> due;
    due.swap(at_tick_);
    for (auto &fn : due)
        fn();
    int64_t now = now_ms();
    bool more = false;
    for (auto &connection : connections_)
        more |= connection->check_deadline(now);
    if (more) want_ticks();
}

} // namespace us::nbd
