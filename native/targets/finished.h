// The result of a task that waits for nothing: of code that is written for queue threads, and called where
// everything answers at once.
#pragma once

#include <cstdlib>
#include <optional>
#include <utility>

#include "targets/task.h"

namespace us {

template <typename T> T finished(Task<T> task) {
    std::optional<T> result;
    auto take = [](Task<T> task, std::optional<T> &result) -> Task<void> { result.emplace(co_await task); };
    detach(take(std::move(task), result));
    if (!result) abort(); // it waits: nobody would ever wake it
    return std::move(*result);
}

} // namespace us
