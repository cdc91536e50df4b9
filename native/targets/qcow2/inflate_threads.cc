#include "targets/qcow2/inflate_threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>

namespace us::qcow2 {

namespace {

constexpr unsigned MAX_THREADS = 4;

unsigned processors() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return static_cast<unsigned>(std::max(CPU_COUNT(&set), 1));
}

} // namespace

InflateThreads::InflateThreads() : nr_(std::min(processors(), MAX_THREADS)) {}

InflateThreads::~InflateThreads() {
    {
        std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_all();
    for (std::thread &thread : threads_)
        thread.join();
}

void InflateThreads::submit(Run &job) {
    std::lock_guard lock(mutex_);
    jobs_.push_back(&job);
    if (threads_.size() < nr_ && threads_.size() < jobs_.size()) {
        // Signals are for the thread that waits for them.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        threads_.emplace_back([this] { loop(); });
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    changed_.notify_one();
}

void InflateThreads::loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        Run &job = *jobs_.front();
        jobs_.pop_front();
        lock.unlock();
        job.good = inflate(job.type, job.data, job.cluster);
        job.executor.resume_later(job.waiter); // the job is gone from here on
        lock.lock();
    }
}

} // namespace us::qcow2
