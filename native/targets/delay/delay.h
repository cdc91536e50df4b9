// delay: requests that take longer, as those of device mapper's delay target and nbdkit's delay filter.
//
//   params   read, write, flush, discard, writeZeroes   what durations.h reads; absent: not delayed
//            seed        default 0
//            keepOrder   all requests reach the base in the order in which they came; default false
//            startBytes, lengthBytes   requests that touch this range; default: all of the layer
//            trace       a file was named: LayerConfig::path, which is read when the server starts
//
// A request waits before it goes to the base. When the settings change, those that wait go on at once.
#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "targets/delay/durations.h"
#include "targets/instrument.h"
#include "targets/turnstile.h"

namespace us {

class DelayInstrument : public Instrument {
  public:
    using Instrument::Instrument;
    void load(HandlerContext context) override;
    Task<IoResult> execute(Executor &executor, LeafIo io, const Run &run) override;

  protected:
    Watch configure(const nlohmann::json &params) override;
    nlohmann::json counts() const override;

  private:
    static constexpr size_t OPS = US_OP_CACHE + 1;

    struct Settings {
        std::array<std::unique_ptr<Durations>, OPS> durations; // by operation; nullptr: none
        bool keep_order = false;
        Watch delayed; // what the durations are for
        uint64_t round = 0;
    };

    struct Waiting : Turnstile::Waiter {
        uint64_t duration = 0, round = 0;
    };
    struct Room : Turnstile {
        uint64_t ready(const Waiter &waiter) const override;
        uint64_t round = 0; // that of the latest settings: those who came before wait no longer
    };

    std::shared_ptr<const Trace> trace_;
    std::atomic<std::shared_ptr<Settings>> settings_;
    Room room_;
    std::atomic<uint64_t> delayed_{0}, waited_ns_{0};
};

} // namespace us
