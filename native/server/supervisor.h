// The supervisor: a tiny parent that starts the worker again when it dies.
//
//   ┌──────────┐ fork  ┌─────────┐  0: asked to stop, or the device is gone      ─▶ exit 0
//   │supervisor│──────▶│ worker  │─▶ 2, 3 before it was ever ready               ─▶ exit 2, 3
//   └──────────┘       └─────────┘  anything else                                 ─▶ fork again
//        ▲                  │ once ready: Shared::ready, SIGUSR1
//        └──────────────────┘
//
// Again at once when a server that was serving is killed; after a pause of up to a second when it cannot get
// ready or crashes by itself right away, and not at all after 20 such deaths in 60 s.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

namespace us {

// In memory that supervisor and worker share.
struct Shared {
    int supervisor_pid = 0;
    std::atomic<int64_t> ready_ms{0}; // monotonic time at which this worker got ready; 0: not yet
};

struct SupervisorOptions {
    std::string run_dir; // of the device: holds supervisor.pid and server.pid
    int ready_fd = -1;
};

// Runs in the child, with the supervisor's ready descriptor or -1; returns its exit status.
using Worker = std::function<int(int ready_fd, Shared &shared)>;

// Returns the exit status. Refuses (3) when another supervisor runs for the same folder.
int supervise(const SupervisorOptions &options, const Worker &worker);

// For the worker, once it serves.
void report_ready(Shared &shared);

} // namespace us
