// What a queue counts. Written by its own thread only, read by any: relaxed atomics, plain adds, no lock
// prefix.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "bpf/loop.h"
#include "core/table.h"

namespace us {

class Counter {
  public:
    void add(uint64_t n) {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    void subtract(uint64_t n) { add(0 - n); }
    uint64_t get() const { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<uint64_t> value_{0};
};

// Operations that reached a leaf.
struct LeafCounters {
    Counter reads, writes, flushes, discards, bytes_read, bytes_written;
};

struct QueueCounters {
    Counter requests;                 // client requests ended
    Counter bytes;                    // read and written for clients
    Counter in_flight;                // client requests now
    Counter enters;                   // io_uring_enter calls
    std::atomic<bool> crowded{false}; // core/crowd.h
    std::array<LeafCounters, US_MAX_LAYERS> leaves;
    // What a program in the kernel counts beside these; nullptr: there is none.
    std::atomic<const us_loop_counters *> kernel{nullptr};
};

} // namespace us
