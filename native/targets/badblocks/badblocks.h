// badblocks: reads of listed blocks fail with EIO until something is written there, as device mapper's dust.
//
//   params   blocks          what ranges.h reads; default: none
//            blockBytes      default 512
//            writeFailures   a listed block refuses so many writes before it takes one, 255 at most; default
//            0 enabled         default true; false: all pass, and the list stays as it is
//
//   listed ──a write of any of its bytes that the base took──▶ good            (writeFailures + 1)th write
//     ▲ └────write: EIO, writeFailures times
//     └──────blocks set to something else than it was set to before
//
// The list lives with the server: a new one begins with that of the params.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "targets/badblocks/ranges.h"
#include "targets/instrument.h"

namespace us {

class BadblocksInstrument : public Instrument {
  public:
    using Instrument::Instrument;
    Task<IoResult> execute(Executor &executor, LeafIo io, const Run &run) override;

  protected:
    Watch configure(const nlohmann::json &params) override;
    nlohmann::json counts() const override;
    nlohmann::json settings(const nlohmann::json &params) const override;

  private:
    // The blocks of a request, by their numbers.
    struct Span {
        uint64_t begin, end;
    };

    Span span_of(const LeafIo &io) const;
    bool refuses(const LeafIo &io);
    void written(const LeafIo &io);

    mutable std::mutex list_mutex_; // guards what follows
    std::string listed_;            // params, as they were set
    uint64_t block_bytes_ = 0;      // 0: never set
    bool enabled_ = false;
    Ranges bad_;
    std::vector<Ranges>
        refused_; // [n]: those of them that have refused more than n writes; writeFailures long

    std::atomic<uint64_t> failed_reads_{0}, failed_writes_{0}, cleared_{0};
};

} // namespace us
