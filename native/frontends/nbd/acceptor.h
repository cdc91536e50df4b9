// Accepts clients on worker 0 and deals each to the worker that has the fewest.
#pragma once

#include <memory>
#include <vector>

#include "engine/completion.h"
#include "frontends/nbd/worker.h"

namespace us::nbd {

// All on the thread of the first worker.
class Acceptor {
  public:
    // More clients than this are turned away: each costs memory.
    static constexpr uint32_t max_connections = 512;

    Acceptor(const std::vector<std::unique_ptr<Worker>> &workers, const std::vector<int> &listening);

    void start();
    // No client is dealt to any worker afterwards.
    void stop();

  private:
    struct Accept : Completion {
        Acceptor *acceptor = nullptr;
        int listening_fd = -1;
    };
    void arm(Accept &accept);
    void accepted(Accept &accept, int32_t result);
    void deal(int fd);

    const std::vector<std::unique_ptr<Worker>> &workers_;
    std::vector<Accept> accepts_;
    bool stopped_ = false;
};

} // namespace us::nbd
