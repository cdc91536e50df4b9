// Coroutines of the slow path. All of one request's run on one queue thread.
//
//     Task<IoResult> copy(Executor &executor) {
//         IoResult read = co_await executor.execute(...);
//
// A task starts when it is awaited, or by detach(). What ends without waiting returns without suspending its
// caller, so that a loop over such tasks needs no stack.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

namespace us {

template <typename T> class Task;

namespace detail {

struct PromiseBase {
    std::coroutine_handle<> continuation;

    struct Final {
        bool await_ready() const noexcept { return false; }
        template <typename Promise> void await_suspend(std::coroutine_handle<Promise> self) const noexcept {
            // The continuation may destroy this very frame.
            if (auto next = self.promise().continuation) next.resume();
        }
        void await_resume() const noexcept {}
    };

    std::suspend_always initial_suspend() const noexcept { return {}; }
    Final final_suspend() const noexcept { return {}; }
    // The slow path reports errors as values. What still throws is out of memory, or a mistake of ours: the
    // process ends, and its successor settles what was in flight.
    void unhandled_exception() const noexcept { std::terminate(); }
};

template <typename T> struct Promise : PromiseBase {
    std::optional<T> value;

    Task<T> get_return_object();
    void return_value(T result) { value.emplace(std::move(result)); }
    T take() { return std::move(*value); }
};

template <> struct Promise<void> : PromiseBase {
    Task<void> get_return_object();
    void return_void() const noexcept {}
    void take() const noexcept {}
};

} // namespace detail

template <typename T> class [[nodiscard]] Task {
  public:
    using promise_type = detail::Promise<T>;
    using Handle = std::coroutine_handle<promise_type>;

    explicit Task(Handle handle) : handle_(handle) {}
    Task(Task &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Task &operator=(Task &&) = delete;
    ~Task() {
        if (handle_) handle_.destroy();
    }

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> caller) noexcept {
        handle_.resume();
        if (handle_.done()) return false;
        handle_.promise().continuation = caller;
        return true;
    }
    T await_resume() { return handle_.promise().take(); }

  private:
    Handle handle_;
};

namespace detail {

template <typename T> Task<T> Promise<T>::get_return_object() {
    return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}

inline Task<void> Promise<void>::get_return_object() {
    return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

// A coroutine that nobody awaits: it begins at once and cleans up after itself.
struct Detached {
    struct promise_type {
        Detached get_return_object() const noexcept { return {}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::terminate(); }
    };
};

inline Detached run_detached(Task<void> task) {
    co_await task;
}

template <typename T> struct Join {
    size_t left = 0;
    std::coroutine_handle<> waiter;
    std::vector<T> results;
};

template <typename T> Detached run_joined(Task<T> task, Join<T> &join, size_t index) {
    T result = co_await task;
    join.results[index] = std::move(result);
    if (--join.left == 0 && join.waiter) join.waiter.resume();
}

template <typename T> struct JoinAwaiter {
    Join<T> &join;
    bool await_ready() const noexcept { return join.left == 0; }
    void await_suspend(std::coroutine_handle<> caller) const noexcept { join.waiter = caller; }
    void await_resume() const noexcept {}
};

} // namespace detail

// Begins a task that lives by itself.
inline void detach(Task<void> task) {
    detail::run_detached(std::move(task));
}

// Runs tasks side by side; results in their order.
template <typename T> Task<std::vector<T>> all(std::vector<Task<T>> tasks) {
    detail::Join<T> join;
    join.left = tasks.size();
    join.results.resize(tasks.size());
    for (size_t i = 0; i < tasks.size(); i++)
        detail::run_joined(std::move(tasks[i]), join, i);
    co_await detail::JoinAwaiter<T>{join};
    co_return std::move(join.results);
}

} // namespace us
