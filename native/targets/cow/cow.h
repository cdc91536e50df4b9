// cow: what is written goes to an overlay, and the base is only read. The overlay is thrown away by a reset,
// a reboot, or with the stack.
//
//     granule not in the overlay    read from the base      a write of a part copies the rest up first
//     granule in the overlay        read and written there
//     discard, write zeroes         zeros in the overlay
//     flush                         nothing: the overlay outlives no power cut anyway
//
// Without an overlay of its own it keeps one in memory: a sparse file in the run directory.
//
// params: granuleBytes, reset: whenever its text is another one, the overlay is thrown away.
#pragma once

#include <atomic>
#include <future>
#include <memory>
#include <string>

#include "targets/cow/overlay_map.h"
#include "targets/cow/turns.h"
#include "targets/instrument.h"

namespace us {

class Cow : public Instrument {
  public:
    using Instrument::Instrument;
    ~Cow() override;

    void fill(us_layer &layer, us_link *links, const std::vector<uint64_t> &sizes) const override;
    void load(HandlerContext context) override;
    Task<IoResult> execute(Executor &executor, LeafIo io, const Run &run) override;
    bool needs_bytes() const override { return true; }
    bool needs_all_bytes() const override { return true; }

  protected:
    Watch configure(const nlohmann::json &params) override;
    nlohmann::json counts() const override;

  private:
    struct Counts {
        std::atomic<uint64_t> copied_up{0}, resets{0};
    };

    uint64_t granule() const { return granule_bytes_; }
    bool has_overlay_layer() const { return config().children.size() > 1; }
    void open_memory(const std::string &path, bool anew);

    Task<IoResult> read(Executor &executor, LeafIo io, const Run &run);
    Task<IoResult> change(Executor &executor, LeafIo io, const Run &run);
    Task<IoResult> change_alone(Executor &executor, LeafIo io, const Run &run);
    Task<IoResult> copy_up(Executor &executor, uint64_t granule_index, const LeafIo &part, const Run &run);
    Task<IoResult> overlay(Executor &executor, LeafIo io, const Run &run);
    IoResult in_memory(const LeafIo &io) const;

    void reset(const std::string &asked_by);
    Task<void> reset_alone(Executor &executor, std::string asked_by, std::shared_ptr<std::promise<int>> done);
    Task<int> throw_away(Executor &executor);

    uint64_t granule_bytes_ = 4096;
    OverlayMap map_;
    Turns turns_;
    int memory_ = -1;
    bool serving_ = false;
    Counts counts_;
};

} // namespace us
