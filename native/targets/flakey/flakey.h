// flakey: a disk that answers well and does something else. What each fault does to a request that it
// strikes:
//
//     dropWrites       nothing is written
//     tornWrites       only the blocks before some block are written, or only those from it on
//     misdirectWrites  it is written at another place
//     corruptWrites    with one byte changed
//     loseFlushes      a flush is not passed on; a FUA write is passed on without FUA
//     misdirectReads   another place is read
//     staleReads       what was overwritten last is read, where that is still remembered
//     corruptReads     one byte is changed
//
// A request may be struck by several. Each fault has a chooser of its own (targets/chooser.h), so that one of
// them changes nothing about which requests another strikes.
//
// params: seed, historyBytes; FAULT.NAME for the params of each fault's chooser, a fault without any never
// strikes; corruptReads.byte, .value, corruptWrites.byte, .value.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>

#include "targets/chooser.h"
#include "targets/flakey/history.h"
#include "targets/instrument.h"

namespace us {

class Flakey : public Instrument {
  public:
    using Instrument::Instrument;
    Task<IoResult> execute(Executor &executor, LeafIo io, const Run &run) override;
    bool needs_bytes() const override { return true; }

    enum Fault {
        DROP_WRITES,
        TORN_WRITES,
        MISDIRECT_WRITES,
        CORRUPT_WRITES,
        LOSE_FLUSHES,
        MISDIRECT_READS,
        STALE_READS,
        CORRUPT_READS,
        NR_FAULTS
    };

  protected:
    Watch configure(const nlohmann::json &params) override;
    nlohmann::json counts() const override;

  private:
    struct Settings {
        std::array<std::unique_ptr<Chooser>, NR_FAULTS> faults;
        // Of corruption: which byte of the request, and what becomes of it; else by chance.
        std::array<std::optional<uint64_t>, NR_FAULTS> byte, value;
    };

    uint64_t block() const { return config().geometry.logical_block; }
    bool strikes(Settings &settings, Fault fault, const LeafIo &io, uint64_t &chance);
    void count(Fault fault) { counts_[fault].fetch_add(1, std::memory_order_relaxed); }
    void corrupt(const Settings &settings, Fault fault, std::byte *data, uint64_t length,
                 uint64_t chance) const;
    uint64_t elsewhere(const LeafIo &io, uint64_t chance) const;
    Task<IoResult> read(Executor &executor, LeafIo io, const Run &run, Settings &settings);
    Task<IoResult> write(Executor &executor, LeafIo io, const Run &run, Settings &settings);
    Task<void> remember(Executor &executor, LeafIo io, const Run &run);

    std::atomic<std::shared_ptr<Settings>> settings_;
    History history_;
    std::array<std::atomic<uint64_t>, NR_FAULTS> counts_{};
};

} // namespace us
