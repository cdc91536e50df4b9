#include "targets/turnstile.h"

#include <algorithm>
#include <chrono>

namespace us {

namespace {

constexpr uint64_t UNTIL_RUNG = UINT64_MAX;

} // namespace

uint64_t steady_now() {
    auto age = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(age).count());
}

// Between the look at the lanes and the pause nothing else runs on this thread, so that no ring is missed: it
// is heard by this very thread.
Task<uint64_t> Turnstile::pass(Executor &executor, Waiter &waiter) {
    waiter.executor = &executor;
    waiter.arrived = steady_now();
    Lane &lane = lanes_[waiter.lane];
    std::unique_lock lock(mutex_);
    waiter.number = arrivals_++;
    auto place = lane.insert(lane.end(), &waiter);
    uint64_t now = waiter.arrived;
    for (uint64_t end; !executor.stopping() && (end = until(waiter, now)) > now; now = steady_now()) {
        waiter.asleep = true;
        lock.unlock();
        co_await executor.pause_until(end, &waiter);
        lock.lock();
        waiter.asleep = false;
    }
    goes(waiter, std::min(now, std::max(waiter.arrived, ready(waiter))));
    lane.erase(place);
    ring_first();
    co_return now - waiter.arrived;
}

void Turnstile::change(const std::function<void()> &fn) {
    std::lock_guard lock(mutex_);
    fn();
    for (const Lane &lane : lanes_)
        for (Waiter *waiter : lane)
            ring(*waiter);
}

bool Turnstile::is_first(const Waiter &waiter) const {
    return waiter.lane == OPEN || lanes_[waiter.lane].front() == &waiter;
}

// What two lanes share goes to them by turns, and not to whoever wakes up first.
bool Turnstile::yields(const Waiter &waiter, uint64_t now) const {
    if (waiter.lane == OPEN) return false;
    return std::any_of(lanes_.begin(), lanes_.begin() + LANES, [&](const Lane &lane) {
        return !lane.empty() && lane.front()->number < waiter.number && ready(*lane.front()) <= now;
    });
}

uint64_t Turnstile::until(const Waiter &waiter, uint64_t now) const {
    if (!is_first(waiter)) return UNTIL_RUNG;
    uint64_t since = ready(waiter);
    return since <= now && yields(waiter, now) ? UNTIL_RUNG : since;
}

void Turnstile::ring(Waiter &waiter) const {
    if (waiter.asleep) waiter.executor->ring(&waiter);
}

void Turnstile::ring_first() const {
    for (uint32_t lane = 0; lane < LANES; lane++)
        if (!lanes_[lane].empty()) ring(*lanes_[lane].front());
}

} // namespace us
