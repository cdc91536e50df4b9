// The one owner of io_uring's user_data: a pointer to a Completion, or 0 for a request nobody waits for.
#pragma once

#include <cstdint>

namespace us {

// Base of everything that waits for a CQE. It must stay where it is until `fn` has run for the last time.
struct Completion {
    // result and flags as in struct io_uring_cqe. Runs on the queue thread that submitted.
    void (*fn)(Completion &self, int32_t result, uint32_t flags) = nullptr;
};

} // namespace us
