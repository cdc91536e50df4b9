// mirror: every child holds the same bytes. The mapping of the fast path is core/mirror.h; this is everything
// else.
//
//   mirror.cc    changes of state: durable first, then in the live words
//   execute.cc   careful reads, writes and flushes; members that fail are dropped
//   resync.cc    copying to members that are behind; marking clean when idle; recording what could not be
//   recorded record.cc    the durable state, and what a start makes of it
//
// What changes when, and by whom:
//
//   record_       by the helper thread only (all changes run there, one after the other); read under mutex_
//   live words    under mutex_; read by everybody at any time
//
// The gate (US_LIVE_WRITE_OPEN) is open only while the record says dirty. A member's readable bit is set only
// while the record says in-sync.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "targets/handler.h"
#include "targets/mirror/record.h"
#include "targets/target.h"

namespace us {

class MirrorTarget : public Target, public Handler {
  public:
    using Target::Target;
    ~MirrorTarget() override;

    us_type core_type() const override { return US_TYPE_MIRROR; }
    void fill(us_layer &layer, us_link *links, const std::vector<uint64_t> &sizes) const override;
    Handler *handler() override { return this; }

    void load(HandlerContext context) override;
    std::string identity() const override;
    Task<IoResult> execute(Executor &executor, LeafIo io, const Run &run) override;
    Task<int> settle(Executor &executor, LeafIo io, const Run &run) override;
    void start_background(Executor &executor) override;
    void close(const std::vector<const Leaf *> &unflushed) override;
    nlohmann::json status() const override;
    std::string readd(const std::string &member) override;

  private:
    struct Waiting { // a writer that the window of a resync holds up
        uint64_t start, end;
        std::coroutine_handle<> handle;
        Executor *executor;
    };

    // ---- mirror.cc
    uint32_t index() const { return config().index; }
    uint32_t child_layer(uint32_t child) const { return config().children[child]; }
    std::string record_file() const { return "mirror-" + config().name + ".json"; }
    MirrorRecord next_record() const; // the record of now, with all failures in it
    void add_unrecorded(MirrorRecord &past) const;
    int save(MirrorRecord &record);
    void adopt(MirrorRecord record); // takes a saved record and its sets into the live words
    uint32_t set_of(MemberState state) const;
    uint32_t readable() const;
    uint32_t writable() const;
    bool gate_open() const;
    bool window_overlaps(uint64_t start, uint64_t end) const;
    void move_window(uint64_t start, uint64_t end);

    // Changes, on the helper thread: 0 or -errno when they could not be made durable.
    int open_gate();
    int drop(uint32_t members, const std::string &reason);
    int record_failures();
    int mark_clean(uint64_t epoch);
    int take_back(uint32_t child, std::string &refusal);
    int finish_sync(); // of those that are copied whole

    // ---- execute.cc
    Task<IoResult> read(Executor &executor, LeafIo io, const Run &run);
    Task<IoResult> read_piece(Executor &executor, LeafIo io, const Run &run);
    Task<IoResult> change(Executor &executor, LeafIo io, const Run &run);
    Task<IoResult> to_members(Executor &executor, LeafIo io, const Run &run);
    Task<int> enter_for_writing(Executor &executor, uint64_t start, uint64_t end, const Run &run);
    Task<void> wait_for_window(Executor &executor, uint64_t start, uint64_t end);
    Task<int> drop_members(Executor &executor, uint32_t members, LeafIo io, int32_t error);
    Task<int> keep_only_first(Executor &executor, LeafIo io, int32_t error);

    // ---- resync.cc
    Task<void> resync(Executor &executor);
    Task<bool> resync_pass(Executor &executor);
    Task<int> copy_window(Executor &executor, uint32_t targets, uint64_t start, uint64_t end);
    Task<IoResult> copy_part(Executor &executor, uint32_t targets, LeafIo io, uint32_t slot);
    Task<int> write_targets(Executor &executor, uint32_t targets, LeafIo io, const Run &run);
    Task<int> flush_targets(Executor &executor, uint32_t targets);
    Task<bool> grace(Executor &executor);
    Task<void> clean_when_idle(Executor &executor);
    Task<bool> flush_and_mark_clean(Executor &executor);
    Task<void> record_sometime(Executor &executor);
    uint32_t syncing() const;
    uint32_t begin_pass();
    uint32_t copying() const;
    void want_resync();
    void want_cleaning();
    void want_recording();

    HandlerContext context_;
    mutable std::mutex mutex_;
    MirrorRecord record_;
    uint32_t unrecorded_ = 0; // members that failed and could not be recorded as dropped: no write succeeds
    std::string unrecorded_why_;
    bool unsaved_ = false; // the last attempt to save failed: the file may say either
    uint64_t epoch_ = 0;   // grows when the gate opens
    std::vector<Waiting> waiting_;
    bool resyncing_ = false, cleaning_ = false, recording_ = false; // of the background queue's thread
};

} // namespace us
