// How long requests of one operation wait: as said in a param, "fixed NS", "uniform MIN MAX", "normal MEAN
// DEVIATION" or "trace".
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "targets/delay/trace.h"
#include "targets/visits.h"

namespace us {

class Durations {
  public:
    // trace: nullptr when there is none. Throws ConfigError.
    Durations(const std::string &said, uint64_t seed, std::shared_ptr<const Trace> trace);

    // Of this request: the next one. Any thread.
    uint64_t next(const LeafIo &io);

  private:
    enum class Kind { fixed, uniform, normal, trace };

    Kind kind_;
    double first_ = 0, second_ = 0; // as said: nanoseconds
    uint64_t seed_;
    Visits visits_;
    std::shared_ptr<const Trace> trace_;
    std::atomic<uint64_t> turn_{0};
};

} // namespace us
