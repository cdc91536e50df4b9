// Coroutines that wait for one another, without a thread waiting: each goes on by its own queue.
//
//     std::unique_lock lock(mutex);
//     while (!condition) { co_await waiters.wait(executor, lock); lock.lock(); }
#pragma once

#include <coroutine>
#include <mutex>
#include <utility>
#include <vector>

#include "targets/executor.h"

namespace us::qcow2 {

class Waiters {
  public:
    // Gives the lock up, and waits for wake(). Afterwards the lock is not held.
    struct Wait {
        Waiters &waiters;
        Executor &executor;
        std::unique_lock<std::mutex> &lock;

        bool await_ready() const noexcept { return false; }
        // Woken on this very thread, later: so the frame with the lock in it is still there.
        void await_suspend(std::coroutine_handle<> handle) const {
            waiters.asleep_.emplace_back(&executor, handle);
            lock.unlock();
        }
        void await_resume() const noexcept {}
    };
    Wait wait(Executor &executor, std::unique_lock<std::mutex> &lock) { return {*this, executor, lock}; }

    // Under the lock.
    void wake() {
        for (auto [executor, handle] : std::exchange(asleep_, {}))
            executor->resume_later(handle);
    }

  private:
    std::vector<std::pair<Executor *, std::coroutine_handle<>>> asleep_;
};

} // namespace us::qcow2
