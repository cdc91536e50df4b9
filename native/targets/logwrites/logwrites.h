// logwrites: passes everything on to its base, and records what changes the base in a log, as device mapper's
// log-writes does and in its format.
//
//     write        held ──base answers──▶ unflushed ──next flush has ended──▶ in the log, before that flush
//     FUA write    held ──base answers──▶ in the log, at once
//     discard      as a write, without data
//     mark         in the log, at once
//
// A flush takes along what had ended when it was submitted. An answer is given once the log has its entries,
// so that a reader finds what the workload knows to be durable. What fails in the base is recorded as far as
// it came; a flush that fails is no flush.
//
// The server's helper thread alone touches the log.
//
// params: data full|hash, record, mark.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "targets/instrument.h"
#include "targets/logwrites/held.h"
#include "targets/logwrites/log.h"

namespace us {

class LogWrites : public Instrument {
  public:
    using Instrument::Instrument;

    void fill(us_layer &layer, us_link *links, const std::vector<uint64_t> &sizes) const override;
    void load(HandlerContext context) override;
    Task<IoResult> execute(Executor &executor, LeafIo io, const Run &run) override;
    void finish() override;
    bool needs_bytes() const override { return true; }
    bool needs_all_bytes() const override { return config().params.value("record", true); }

  protected:
    Watch configure(const nlohmann::json &params) override;
    nlohmann::json counts() const override;

  private:
    struct Counts {
        std::atomic<uint64_t> entries{0}, log_bytes{0}; // of the log, a predecessor's included
        std::atomic<uint64_t> writes{0}, flushes{0}, fua{0}, discards{0}, marks{0}, unrecorded{0};
    };

    uint32_t sector_bytes() const { return config().geometry.logical_block; }
    void open_log();
    void switch_to(bool record);
    void mark(const std::string &text);

    Task<IoResult> flush(Executor &executor, LeafIo io, const Run &run);
    Task<IoResult> change(Executor &executor, LeafIo io, const Run &run);
    int hold(const LeafIo &io, HeldWrite &write);
    bool came_to_something(HeldWrite &write, const IoResult &result);
    void keep_until_flushed(HeldWrite write);
    std::vector<HeldWrite> take_unflushed();
    void give_back(std::vector<HeldWrite> writes);

    int append(const std::vector<HeldWrite> &writes);
    void count(const HeldWrite &write, bool placed);
    void end_recording(const std::string &why);

    Log log_;
    HeldWrites held_;
    std::atomic<bool> recording_{false}, hashing_{false};
    std::atomic<bool> ended_{false}; // for good
    bool serving_ = false;           // settings change from now on
    mutable std::mutex unflushed_mutex_;
    std::vector<HeldWrite> unflushed_; // in order of completion
    Counts counts_;
};

} // namespace us
