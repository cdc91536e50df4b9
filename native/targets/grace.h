// Waits until nobody acts any more on words of before the call (targets/inflight.h).
#pragma once

#include <algorithm>

#include "targets/executor.h"

namespace us {

// layer: whose words they are. False when the queue stops.
inline Task<bool> grace(Executor &executor, const Inflight &inflight, uint32_t layer, Inflight::Of of) {
    Inflight::Older older = inflight.busy(of);
    uint64_t pause_ns = 20'000;
    while (!inflight.passed(older, layer)) {
        bool goes_on = co_await executor.pause(pause_ns);
        if (!goes_on) co_return false;
        pause_ns = std::min<uint64_t>(pause_ns * 2, 2'000'000);
    }
    co_return true;
}

} // namespace us
