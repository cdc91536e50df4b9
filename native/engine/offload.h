// The helper thread: blocking work of the slow path, such as flushing state files, one after the other.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace us {

class Offload {
  public:
    Offload();
    ~Offload(); // ends after all that was submitted

    // Any thread.
    void submit(std::function<void()> fn);

    // Any thread but the helper: waits for the result.
    int run(const std::function<int()> &fn);

  private:
    void loop();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::function<void()>> submitted_;
    bool ending_ = false;
    std::thread thread_;
};

} // namespace us
