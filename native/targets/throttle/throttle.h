// throttle: so many requests and bytes in a second, as QEMU's throttle groups and nbdkit's rate filter.
//
//   params   iops, readIops, writeIops                              requests in a second, 0 or absent: any
//            bandwidthBytes, readBandwidthBytes, writeBandwidthBytes   bytes in a second, the same
//            burstNs, readBurstNs, writeBurstNs   how much of the rates may go at once after idleness
//            iopsBytes    a request counts as one for each so many bytes begun; absent: as one
//
// Discards and zeroes are requests to write, and move no bytes; flushes are not limited. Reads wait in one
// line, writes in another; the totals serve whoever came first.
#pragma once

#include <array>
#include <atomic>

#include "targets/instrument.h"
#include "targets/throttle/bucket.h"
#include "targets/turnstile.h"

namespace us {

class ThrottleInstrument : public Instrument {
  public:
    using Instrument::Instrument;
    Task<IoResult> execute(Executor &executor, LeafIo io, const Run &run) override;

  protected:
    Watch configure(const nlohmann::json &params) override;
    nlohmann::json counts() const override;

  private:
    enum Direction : uint32_t { READ, WRITE, TOTAL };

    struct Waiting : Turnstile::Waiter {
        uint64_t bytes = 0;
    };

    struct Limits {
        Bucket requests, bytes;

        bool any() const { return requests.limits() || bytes.limits(); }
        uint64_t ready() const { return std::max(requests.ready(), bytes.ready()); }
    };

    struct Room : Turnstile {
        uint64_t ready(const Waiter &waiter) const override;
        void goes(const Waiter &waiter, uint64_t since) override;

        std::array<Limits, 3> limits; // by direction
        uint64_t iops_bytes = 0;      // 0: a request is one, whatever its length
    };

    struct Count {
        std::atomic<uint64_t> throttled{0}, waited_ns{0};
    };

    Room room_;
    std::array<Count, 2> counts_; // READ, WRITE
};

} // namespace us
