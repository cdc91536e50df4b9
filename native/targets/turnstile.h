// Requests that wait for their time, on any queue. Those of one lane go one after the other in the order in
// which they came: the first sleeps until it is ready, the others until they are rung for. In the open lane
// nobody waits for another.
//
//     arrive ──▶ lane 0   c b a ──▶ a: asleep until ready(a)
//            ├─▶ lane 1     e d ──▶ d: asleep until ready(d)          a and d ready: the elder goes first
//            └─▶ open     h g f ──▶ f, g, h: each asleep until it is ready
//
// Whoever goes rings for the new first ones, so that nobody looks at the clock but those whose time it is.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>

#include "targets/executor.h"

namespace us {

// Nanoseconds of the steady clock, as Executor::pause_until() has them.
uint64_t steady_now();

class Turnstile {
  public:
    static constexpr uint32_t LANES = 2, OPEN = LANES;

    struct Waiter {
        uint32_t lane = OPEN;
        uint64_t arrived = 0; // all of these filled in by pass()
        uint64_t number = 0;
        Executor *executor = nullptr;
        bool asleep = false;
    };

    virtual ~Turnstile() = default;

    // Ends when the waiter may go, or at once when the queue stops. How long it waited, in nanoseconds.
    Task<uint64_t> pass(Executor &executor, Waiter &waiter);

    // Any thread: changes what the answers below depend on; everybody looks again.
    void change(const std::function<void()> &fn);

  protected:
    // When this one may go: called under the lock, of the first of a lane.
    virtual uint64_t ready(const Waiter &waiter) const = 0;
    // It goes; it was ready since `since`.
    virtual void goes(const Waiter &, uint64_t /*since*/) {}

  private:
    using Lane = std::list<Waiter *>;

    bool is_first(const Waiter &waiter) const;
    bool yields(const Waiter &waiter, uint64_t now) const;
    uint64_t until(const Waiter &waiter, uint64_t now) const;
    void ring(Waiter &waiter) const;
    void ring_first() const;

    std::mutex mutex_;
    std::array<Lane, LANES + 1> lanes_;
    uint64_t arrivals_ = 0;
};

} // namespace us
