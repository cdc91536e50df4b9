// When to start a dead worker again. Pure: times come in.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

namespace us {

class RestartPolicy {
  public:
    static constexpr int64_t MAX_PAUSE_MS = 1'000;
    static constexpr int64_t WINDOW_MS = 60'000;
    static constexpr size_t MAX_DEATHS = 20;        // within the window
    static constexpr int64_t SOUND_LIFE_MS = 1'000; // a worker that served this long was well

    struct Death {
        int64_t at_ms;
        int64_t ready_ms; // 0: it never got ready
        bool killed;      // by SIGKILL: somebody else's doing
    };

    // Milliseconds to wait before the next start, or nothing: give up.
    std::optional<int64_t> after(const Death &death) {
        bool served = death.ready_ms != 0;
        if (served && (death.killed || death.at_ms - death.ready_ms >= SOUND_LIFE_MS)) {
            failures_.clear();
            return 0;
        }
        while (!failures_.empty() && death.at_ms - failures_.front() > WINDOW_MS)
            failures_.pop_front();
        failures_.push_back(death.at_ms);
        if (failures_.size() >= MAX_DEATHS) return std::nullopt;
        if (failures_.size() == 1) return 0;
        int64_t pause = 10;
        for (size_t i = 2; i < failures_.size() && pause < MAX_PAUSE_MS; i++)
            pause *= 2;
        return pause < MAX_PAUSE_MS ? pause : MAX_PAUSE_MS;
    }

  private:
    std::deque<int64_t> failures_;
};

} // namespace us
