#include "frontends/nbd/offload.h"

#include "engine/privileges.h"

namespace us::nbd {

Offload::Offload()
    : thread_([this] {
          drop_capabilities();
          run();
      }) {}

Offload::~Offload() {
    {
        std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

void Offload::give(std::function<void()> work) {
    {
        std::lock_guard lock(mutex_);
        work_.push_back(std::move(work));
    }
    changed_.notify_one();
}

void Offload::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return ending_ || !work_.empty(); });
        if (work_.empty()) return;
        auto work = std::move(work_.front());
        work_.pop_front();
        lock.unlock();
        work();
        lock.lock();
    }
}

} // namespace us::nbd
