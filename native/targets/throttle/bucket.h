// One limit as a leaky bucket: what goes through fills it, it leaks at the rate of the limit, and as long as
// it is not over its edge the next one may go.
//
//     level, as the time that it takes to leak away
//       ─ burst ─────────────── the edge ── above: who comes waits until the level has sunk to it
//       ▒▒▒▒▒▒▒▒▒▒ empty_at_ - now
//       ─ 0 ───────────────────
//
// So after idleness `burst` may go at once, and one more request however long it is.
#pragma once

#include <algorithm>
#include <cstdint>

namespace us {

class Bucket {
  public:
    // rate: units in a second, 0: no limit. burst: in nanoseconds of the rate. Anew and empty, unless this is
    // what it has been already.
    void limit(uint64_t rate, uint64_t burst_ns) {
        if (rate == rate_ && burst_ns == burst_ns_) return;
        *this = Bucket();
        rate_ = rate;
        burst_ns_ = burst_ns;
    }

    bool limits() const { return rate_ != 0; }

    // From when on the next one may go.
    uint64_t ready() const { return limits() && empty_at_ > burst_ns_ ? empty_at_ - burst_ns_ : 0; }

    void take(uint64_t units, uint64_t now) {
        if (!limits()) return;
        unsigned __int128 work = static_cast<unsigned __int128>(units) * SECOND_NS + rest_;
        auto nanoseconds = static_cast<uint64_t>(std::min<unsigned __int128>(work / rate_, YEARS_NS));
        rest_ = static_cast<uint64_t>(work % rate_);
        empty_at_ = std::max(empty_at_, now) + nanoseconds;
    }

  private:
    static constexpr uint64_t SECOND_NS = 1'000'000'000, YEARS_NS = uint64_t{1} << 58;

    uint64_t rate_ = 0, burst_ns_ = 0;
    uint64_t empty_at_ = 0; // nanoseconds of the steady clock
    uint64_t rest_ = 0;     // of the division: what a nanosecond is too coarse for
};

} // namespace us
