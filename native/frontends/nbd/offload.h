// A helper thread for work that may block, such as asking a file system where its holes are.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace us::nbd {

class Offload {
  public:
    Offload();
    // Waits for all that was given.
    ~Offload();
    Offload(const Offload &) = delete;
    Offload &operator=(const Offload &) = delete;

    // Any thread. In order.
    void give(std::function<void()> work);

  private:
    void run();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> work_;
    bool ending_ = false;
    std::thread thread_;
};

} // namespace us::nbd
