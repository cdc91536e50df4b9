// Which requests a fault strikes: by operation, place, number, chance and time. Deterministic but for the
// time: the same settings choose the same ones of the same sequence of requests, whatever queues they come
// by, since chance is a hash of the seed, the operation, the place, and how often that was asked for before.
//
//   params   ops        "read,write,…"      default: what the layer says
//            startBytes, lengthBytes         requests that touch this range; default: all of the layer
//            probability 0 to 1              default 1
//            seed                            default 0
//            nth        N                    only the Nth of those that the above would strike, from 1
//            every      N                    each Nth of them
//            limit      N                    no more than N faults
//            upNs, downNs                    strikes while "down", as dm-flakey: first up, then down, and so
//            on
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "targets/io.h"
#include "targets/visits.h"

namespace us {

// Bit OP (enum us_op) of each operation named in a list such as "read,write-zeroes". Throws ConfigError for
// others.
uint32_t parse_ops(const std::string &names);

class Chooser {
  public:
    // Throws ConfigError.
    Chooser(const nlohmann::json &params, const std::string &default_ops);

    // Whether to strike this request; counts it. Any thread.
    bool strikes(const LeafIo &io);

    // More of the same chance, for what else has to be chosen about a request that is struck: 64 bits, by the
    // number of strikes so far at this place.
    uint64_t chance(const LeafIo &io, uint64_t purpose) const;

    bool touches(const LeafIo &io) const;
    uint32_t ops() const { return probability_ > 0 ? ops_ : 0; }
    uint64_t start() const { return start_; }
    uint64_t end() const { return end_; }

  private:
    using Clock = std::chrono::steady_clock;

    bool down() const;

    uint32_t ops_;
    uint64_t start_, end_;
    double probability_;
    uint64_t seed_, nth_, every_, limit_, up_ns_, down_ns_;
    Clock::time_point begin_ = Clock::now();
    std::atomic<uint64_t> candidates_{0}, strikes_{0};
    Visits visits_;
};

} // namespace us
