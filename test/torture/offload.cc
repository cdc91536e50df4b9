// The helper thread, without a thread: its work is events of the simulated kernel, one after the other.
#include "engine/offload.h"

#include "kernel.h"

namespace us {

Offload::Offload() = default;

Offload::~Offload() {
    Kernel::current->run_jobs();
}

void Offload::submit(std::function<void()> fn) {
    Kernel::current->submit_job(std::move(fn));
}

int Offload::run(const std::function<int()> &fn) {
    Kernel::current->run_jobs();
    return fn();
}

void Offload::loop() {}

} // namespace us
