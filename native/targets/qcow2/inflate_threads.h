// Threads that inflate clusters, so that a queue's thread goes on with other requests meanwhile.
#pragma once

#include <condition_variable>
#include <coroutine>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "targets/executor.h"
#include "targets/qcow2/inflate.h"

namespace us::qcow2 {

class InflateThreads {
  public:
    // As many as there are processors to run on, up to a bound. They begin with the first cluster.
    InflateThreads();
    // Nobody waits for a cluster any more.
    ~InflateThreads();
    InflateThreads(const InflateThreads &) = delete;
    InflateThreads &operator=(const InflateThreads &) = delete;

    // Whether there would be any besides the queue's own thread.
    bool available() const { return nr_ > 1; }

    // co_await run(…) has inflate()'s answer, on the thread of the executor.
    struct Run {
        InflateThreads &threads;
        Executor &executor;
        Compression type;
        std::span<const std::byte> data;
        std::span<std::byte> cluster;
        bool good = false;
        std::coroutine_handle<> waiter{};

        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> handle) {
            waiter = handle;
            threads.submit(*this);
        }
        bool await_resume() const noexcept { return good; }
    };
    Run run(Executor &executor, Compression type, std::span<const std::byte> data,
            std::span<std::byte> cluster) {
        return {*this, executor, type, data, cluster};
    }

  private:
    void submit(Run &job);
    void loop();

    const unsigned nr_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Run *> jobs_;
    bool ending_ = false;
    std::vector<std::thread> threads_;
};

} // namespace us::qcow2
