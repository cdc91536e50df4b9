#include "engine/offload.h"

#include <future>

#include "engine/privileges.h"

namespace us {

Offload::Offload() : thread_([this] { loop(); }) {}

Offload::~Offload() {
    {
        std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

void Offload::submit(std::function<void()> fn) {
    {
        std::lock_guard lock(mutex_);
        submitted_.push_back(std::move(fn));
    }
    changed_.notify_one();
}

int Offload::run(const std::function<int()> &fn) {
    std::promise<int> result;
    submit([&] { result.set_value(fn()); });
    return result.get_future().get();
}

void Offload::loop() {
    drop_capabilities(); // what it writes to is its own user's
    for (;;) {
        std::vector<std::function<void()>> now;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return ending_ || !submitted_.empty(); });
            if (submitted_.empty()) return;
            now.swap(submitted_);
        }
        for (auto &fn : now)
            fn();
    }
}

} // namespace us
