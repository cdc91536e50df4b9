#include "targets/logwrites/logwrites.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "targets/logwrites/sha256.h"

namespace us {

namespace {

constexpr uint32_t CHANGES =
    1u << US_OP_WRITE | 1u << US_OP_FLUSH | 1u << US_OP_DISCARD | 1u << US_OP_WRITE_ZEROES;

bool is_fua(const LeafIo &io) {
    return io.op == US_OP_WRITE && (io.flags & IO_FUA);
}

// Not one that stands for a write.
bool is_mark(const HeldWrite &write) {
    return (write.entry.flags & logformat::MARK) &&
           !write.text.starts_with(std::string(logformat::OWN_MARK) + "write");
}

HeldWrite mark_entry(const std::string &text) {
    HeldWrite write;
    write.entry = {0, 0, logformat::MARK, text.size()};
    write.text = text;
    return write;
}

// A write whose data are not kept is a mark to every reader: nothing to be replayed, and nothing behind it.
HeldWrite hash_entry(const LeafIo &io, uint32_t sector_bytes) {
    std::string text = std::string(logformat::OWN_MARK) +
                       "write sector=" + std::to_string(io.offset / sector_bytes) +
                       " sectors=" + std::to_string(io.length / sector_bytes) + (is_fua(io) ? " fua" : "");
    if (io.op == US_OP_WRITE_ZEROES)
        text += " zeroes";
    else
        text += " sha256=" + sha256({io.buffer.data, io.length});
    return mark_entry(text);
}

} // namespace

void LogWrites::fill(us_layer &layer, us_link *links, const std::vector<uint64_t> &sizes) const {
    if (sizes.size() != 2) refuse("it needs a base and a log");
    Instrument::fill(layer, links, sizes);
}

void LogWrites::load(HandlerContext given) {
    adopt(std::move(given));
    const MemberNow &log = context().members.at(1);
    if (!log.trouble.empty()) throw ConfigError("server-start", log.trouble, config().name);
    if (!log.single_leaf)
        throw ConfigError("server-start",
                          "layer \"" + config().name + "\": its log \"" + log.name +
                              "\" is made of other layers, and must be a file, a block device or memory",
                          config().name);
    if (!config().read_only) open_log();
    set(config().params);
    serving_ = true;
}

void LogWrites::open_log() {
    const MemberNow &log = context().members[1];
    const std::string about = "logwrites \"" + config().name + "\": ";
    log_.open(*log.leaves[0], sector_bytes(),
              [&](const std::string &text) { context().notice(true, about + text); });
    std::string owner = context().boot_id + "\n" + identity() + "\n" + log.identity.value_or("");
    if (int error = held_.open(context().run_dir + "/logwrites-" + config().name, owner))
        throw ConfigError("io-error",
                          about + "cannot open its file in " + context().run_dir + ": " + strerror(-error),
                          config().name);
    unflushed_ = held_.left_behind(log_.nr_entries());
    counts_.entries = log_.nr_entries();
    counts_.log_bytes = log_.bytes();
    if (log_.ended()) end_recording("the log says that recording has ended");
}

Instrument::Watch LogWrites::configure(const nlohmann::json &params) {
    const uint64_t room = sector_bytes() - sizeof(logformat::Entry);
    std::string data = params.value("data", "full"), text = params.value("mark", "");
    bool record = params.value("record", true) && !config().read_only;
    if (data != "full" && data != "hash") throw ConfigError("bad-value", "data is full or hash");
    if (text.size() >= room)
        throw ConfigError("bad-value", "a mark has less than " + std::to_string(room) + " bytes");
    if (text.starts_with(logformat::OWN_MARK))
        throw ConfigError("bad-value",
                          std::string("marks that begin with ") + logformat::OWN_MARK + " are ours");
    if (config().read_only) return {};

    hashing_ = data == "hash";
    if (record != recording_ && serving_) switch_to(record);
    recording_ = record;
    if (!text.empty()) mark(text);
    return record ? Watch{CHANGES, 0, UINT64_MAX} : Watch{};
}

// Whoever reads the log is to know where something is missing.
void LogWrites::switch_to(bool record) {
    context().run_offloaded([&] {
        std::vector<HeldWrite> writes;
        if (!record) writes = take_unflushed();
        writes.push_back(mark_entry(record ? logformat::ON_MARK : logformat::OFF_MARK));
        return append(writes);
    });
}

// The same text again is the same mark: settings may be told twice.
void LogWrites::mark(const std::string &text) {
    int error = context().run_offloaded([&] {
        if (text == log_.last_mark()) return 0;
        return append({mark_entry(text)});
    });
    if (error != 0 && serving_)
        throw ConfigError("io-error", std::string("the mark cannot be written: ") + strerror(-error));
}

nlohmann::json LogWrites::counts() const {
    auto of = [](const std::atomic<uint64_t> &count) { return count.load(std::memory_order_relaxed); };
    size_t nr_unflushed = 0;
    {
        std::lock_guard lock(unflushed_mutex_);
        nr_unflushed = unflushed_.size();
    }
    return {{"recording", recording_ && !ended_},
            {"entries", of(counts_.entries)},
            {"logBytes", of(counts_.log_bytes)},
            {"writes", of(counts_.writes)},
            {"fua", of(counts_.fua)},
            {"flushes", of(counts_.flushes)},
            {"discards", of(counts_.discards)},
            {"marks", of(counts_.marks)},
            {"unflushed", nr_unflushed},
            {"heldBytes", held_.bytes()},
            {"unrecorded", of(counts_.unrecorded)}};
}

Task<IoResult> LogWrites::execute(Executor &executor, LeafIo io, const Run &run) {
    IoResult result{};
    bool changes = CHANGES >> io.op & 1;
    if (changes && ended_) counts_.unrecorded.fetch_add(1, std::memory_order_relaxed);
    if (!changes || ended_ || !recording_)
        result = co_await pass(executor, io, run);
    else if (io.op == US_OP_FLUSH)
        result = co_await flush(executor, io, run);
    else
        result = co_await change(executor, io, run);
    co_return result;
}

Task<IoResult> LogWrites::flush(Executor &executor, LeafIo io, const Run &run) {
    std::vector<HeldWrite> writes = take_unflushed();
    IoResult result = co_await pass(executor, io, run);
    if (result.error != 0) {
        give_back(std::move(writes));
        co_return result;
    }
    writes.emplace_back().entry.flags = logformat::FLUSH;
    std::function<int()> job = [this, &writes] { return append(writes); };
    co_await executor.offload(std::move(job));
    co_return result;
}

Task<IoResult> LogWrites::change(Executor &executor, LeafIo io, const Run &run) {
    HeldWrite write;
    int error = hold(io, write);
    if (error != 0) {
        counts_.unrecorded.fetch_add(1, std::memory_order_relaxed);
        std::function<int()> job = [this, error] {
            end_recording(std::string("what waits for a flush cannot be held: ") + strerror(-error));
            return 0;
        };
        co_await executor.offload(std::move(job));
    }
    IoResult result = co_await pass(executor, io, run);
    if (error != 0 || !came_to_something(write, result)) co_return result;
    if (!is_fua(io)) {
        keep_until_flushed(std::move(write));
        co_return result;
    }
    std::vector<HeldWrite> writes(1);
    writes[0] = std::move(write);
    std::function<int()> job = [this, &writes] { return append(writes); };
    co_await executor.offload(std::move(job));
    co_return result;
}

// Of what failed, as much as is known to have succeeded; nothing of what is but a hash.
bool LogWrites::came_to_something(HeldWrite &write, const IoResult &result) {
    if (result.error == 0) return true;
    uint64_t sectors = write.entry.flags & logformat::MARK ? 0 : result.good / sector_bytes();
    if (sectors == 0)
        held_.drop(write);
    else
        write.entry.nr_sectors = sectors;
    return sectors != 0;
}

// Before the base is asked: a successor has to know of all that may have reached it.
int LogWrites::hold(const LeafIo &io, HeldWrite &write) {
    bool data = io.op == US_OP_WRITE && !hashing_;
    if (hashing_ && io.op != US_OP_DISCARD)
        write = hash_entry(io, sector_bytes());
    else
        write.entry = {io.offset / sector_bytes(), io.length / sector_bytes(), 0, 0};
    if (io.op == US_OP_DISCARD) write.entry.flags |= logformat::DISCARD;
    if (is_fua(io)) write.entry.flags |= logformat::FUA;
    write.zeroes = io.op == US_OP_WRITE_ZEROES && !hashing_;
    return held_.add(write, io.buffer.data, data ? io.length : 0);
}

void LogWrites::keep_until_flushed(HeldWrite write) {
    std::lock_guard lock(unflushed_mutex_);
    // Should this be lost, a successor takes the write for one that was under way: later in order, and still
    // there.
    held_.complete(write);
    unflushed_.push_back(std::move(write));
}

std::vector<HeldWrite> LogWrites::take_unflushed() {
    std::lock_guard lock(unflushed_mutex_);
    return std::exchange(unflushed_, {});
}

void LogWrites::give_back(std::vector<HeldWrite> writes) {
    std::lock_guard lock(unflushed_mutex_);
    unflushed_.insert(unflushed_.begin(), std::make_move_iterator(writes.begin()),
                      std::make_move_iterator(writes.end()));
}

// On the helper thread.
int LogWrites::append(const std::vector<HeldWrite> &writes) {
    size_t placed = 0;
    int error = ended_ ? -ENOSPC : log_.append(writes, held_, placed);
    for (size_t i = 0; i < writes.size(); i++) {
        count(writes[i], i < placed);
        held_.drop(writes[i]);
    }
    counts_.entries = log_.nr_entries();
    counts_.log_bytes = log_.bytes();
    if (error != 0 && !ended_)
        end_recording(error == -ENOSPC ? "the log is full"
                                       : std::string("the log cannot be written: ") + strerror(-error));
    return error;
}

void LogWrites::count(const HeldWrite &write, bool placed) {
    uint64_t flags = write.entry.flags;
    std::atomic<uint64_t> &kind = !placed                      ? counts_.unrecorded
                                  : flags & logformat::FLUSH   ? counts_.flushes
                                  : flags & logformat::DISCARD ? counts_.discards
                                  : is_mark(write)             ? counts_.marks
                                                               : counts_.writes;
    kind.fetch_add(1, std::memory_order_relaxed);
    if (placed && (flags & logformat::FUA)) counts_.fua.fetch_add(1, std::memory_order_relaxed);
}

// On the helper thread, or before it has anything to do. For good: a log with a gap would be worse than none.
void LogWrites::end_recording(const std::string &why) {
    ended_ = true;
    log_.end();
    counts_.entries = log_.nr_entries();
    std::vector<HeldWrite> lost = take_unflushed();
    for (const HeldWrite &write : lost)
        held_.drop(write);
    counts_.unrecorded.fetch_add(lost.size(), std::memory_order_relaxed);
    context().notice(true, "logwrites \"" + config().name + "\": recording has ended: " + why);
}

// An orderly end loses nothing: what is not flushed is logged without a flush behind it.
void LogWrites::finish() {
    if (config().read_only) return;
    context().run_offloaded([this] { return append(take_unflushed()); });
}

} // namespace us
