#include "targets/mirror/mirror.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "targets/durable_file.h"

namespace us {

namespace {

std::string utc_now() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    tm parts{};
    gmtime_r(&now.tv_sec, &parts);
    char text[32];
    size_t length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return {text, length};
}

std::string fresh_id() {
    unsigned char bytes[16];
    if (getentropy(bytes, sizeof bytes) != 0) throw ConfigError("server-start", "no random numbers");
    std::string text;
    for (unsigned char byte : bytes) {
        constexpr char digits[] = "0123456789abcdef";
        text += {digits[byte >> 4], digits[byte & 15]};
    }
    return text;
}

// The live words are plain C for core/; everybody else reads and writes them as atomics.
template <typename T> std::atomic_ref<T> word(T &value) {
    return std::atomic_ref<T>(value);
}

} // namespace

MirrorTarget::~MirrorTarget() = default;

void MirrorTarget::fill(us_layer &, us_link *, const std::vector<uint64_t> &sizes) const {
    if (sizes.empty()) refuse("mirror needs a member");
    if (config().size > *std::min_element(sizes.begin(), sizes.end()))
        refuse("its size is larger than its smallest member");
}

std::string MirrorTarget::identity() const {
    std::lock_guard lock(mutex_);
    return "mirror:" + record_.id;
}

void MirrorTarget::load(HandlerContext context) {
    context_ = std::move(context);
    // Until it is loaded: a successor must not think that this server has seen to it.
    if (context_.predecessor == Predecessor::unknown) context_.resync->unsettled = 1;
    std::string text;
    int error = read_whole(context_.state_dir, record_file(), text);
    if (error != 0 && error != -ENOENT)
        throw ConfigError("io-error", "cannot read " + record_file() + ": " + strerror(-error),
                          config().name);
    std::optional<MirrorRecord> past;
    if (error == 0) past = parse_record(text);
    if (error == 0 && !past)
        context_.notice(true, "mirror \"" + config().name +
                                  "\": its state is corrupt; only the first member counts");

    Predecessor predecessor = context_.predecessor;
    if (past && predecessor == Predecessor::same) add_unrecorded(*past);
    if (past && predecessor == Predecessor::same && context_.resync->unsettled) {
        past->dirty = true;
        predecessor = Predecessor::unknown;
    }

    Circumstances circumstances{config().name, context_.boot_id, predecessor, utc_now(), fresh_id()};
    Start start = decide_start(past, context_.members, circumstances);
    for (const std::string &notice : start.notices)
        context_.notice(true, "mirror \"" + config().name + "\": " + notice);
    // A reader changes nothing, and may not be the only one.
    error =
        config().read_only ? 0 : write_durably(context_.state_dir, record_file(), print_record(start.record));
    if (error != 0)
        throw ConfigError(error == -ENOSPC ? "no-space" : "io-error",
                          "cannot write " + record_file() + ": " + strerror(-error), config().name);

    us_live_layer &live = *context_.live;
    live.gate = 0;
    live.window_start = live.window_end = 0;
    adopt(std::move(start.record));
    unsaved_ = false;
    uint32_t syncing = set_of(MemberState::syncing);
    if (!config().read_only) context_.resync->unsettled = 0;
    bool goes_on =
        predecessor == Predecessor::same && (syncing & ~(context_.resync->members & start.resumable)) == 0;
    if (!goes_on) context_.resync->position = 0;
    context_.resync->members = syncing;
}

// What a predecessor could not put on record, its live file has kept.
void MirrorTarget::add_unrecorded(MirrorRecord &past) const {
    for (uint32_t i = 0; i < past.members.size(); i++) {
        if (!(context_.resync->unrecorded >> i & 1)) continue;
        MemberRecord &m = past.members[i];
        m = {m.name, m.identity, MemberState::dropped, "it failed, and that could not be recorded",
             utc_now()};
    }
}

MirrorRecord MirrorTarget::next_record() const {
    MirrorRecord record = record_;
    for (uint32_t i = 0; i < record.members.size(); i++) {
        if (!(unrecorded_ >> i & 1)) continue;
        MemberRecord &m = record.members[i];
        m = {m.name, m.identity, MemberState::dropped, unrecorded_why_, utc_now()};
    }
    return record;
}

int MirrorTarget::save(MirrorRecord &record) {
    record.generation++;
    int error = write_durably(context_.state_dir, record_file(), print_record(record));
    unsaved_ = error != 0;
    if (error != 0)
        context_.notice(true,
                        "mirror \"" + config().name + "\": its state cannot be written: " + strerror(-error));
    return error;
}

void MirrorTarget::adopt(MirrorRecord record) {
    std::lock_guard lock(mutex_);
    record_ = std::move(record);
    unrecorded_ = 0;
    word(context_.resync->unrecorded).store(0);
    word(context_.live->gate).fetch_and(~US_LIVE_UNRECORDED);
    uint32_t in_sync = set_of(MemberState::in_sync);
    uint32_t takes_writes = in_sync | set_of(MemberState::syncing);
    us_live_layer &live = *context_.live;
    // Readable stays a subset of writable at every moment.
    word(live.readable).fetch_and(in_sync);
    word(live.writable).store(takes_writes);
    word(live.readable).store(in_sync);
    // What is dropped and taken back has missed writes: nothing of it is copied any more.
    word(context_.resync->members).fetch_and(set_of(MemberState::syncing));
}

// Under mutex_, or on the helper thread.
uint32_t MirrorTarget::set_of(MemberState state) const {
    uint32_t set = 0;
    for (size_t i = 0; i < record_.members.size(); i++)
        if (record_.members[i].state == state) set |= 1u << i;
    return set;
}

uint32_t MirrorTarget::readable() const {
    return word(context_.live->readable).load();
}
uint32_t MirrorTarget::writable() const {
    return word(context_.live->writable).load();
}
bool MirrorTarget::gate_open() const {
    return word(context_.live->gate).load() & US_LIVE_WRITE_OPEN;
}

bool MirrorTarget::window_overlaps(uint64_t start, uint64_t end) const {
    return start < word(context_.live->window_end).load() && end > word(context_.live->window_start).load();
}

void MirrorTarget::move_window(uint64_t start, uint64_t end) {
    std::lock_guard lock(mutex_);
    word(context_.live->window_start).store(start);
    word(context_.live->window_end).store(end);
    std::erase_if(waiting_, [&](const Waiting &w) {
        if (w.start < end && w.end > start) return false;
        w.executor->resume_later(w.handle);
        return true;
    });
}

int MirrorTarget::open_gate() {
    if (gate_open()) return 0;
    if (!record_.dirty || unrecorded_ || unsaved_) {
        MirrorRecord record = next_record();
        record.dirty = true;
        if (int error = save(record)) return error;
        adopt(std::move(record));
    }
    {
        std::lock_guard lock(mutex_);
        epoch_++;
        word(context_.live->gate).fetch_or(US_LIVE_WRITE_OPEN);
    }
    want_cleaning();
    return 0;
}

int MirrorTarget::drop(uint32_t members, const std::string &reason) {
    MirrorRecord record = next_record();
    uint32_t current = 0;
    for (uint32_t i = 0; i < record.members.size(); i++)
        if (record.members[i].state == MemberState::in_sync) current |= 1u << i;
    // The last current member stays, whatever it answers; others that failed beside it must not.
    bool last = (current & ~members) == 0;
    if (last) members &= ~(current & -current);
    std::string names;
    for (uint32_t i = 0; i < record.members.size(); i++) {
        MemberRecord &m = record.members[i];
        if (!(members >> i & 1) || m.state == MemberState::dropped) continue;
        m = {m.name, m.identity, MemberState::dropped, reason, utc_now()};
        names += (names.empty() ? "\"" : ", \"") + m.name + "\"";
    }
    int result = last ? -EIO : 0;
    if (names.empty() && !unrecorded_) return result;
    if (int error = save(record)) {
        // Not on record: a successor would trust these members. So no write succeeds until it is.
        std::lock_guard lock(mutex_);
        word(context_.live->readable).fetch_and(~members);
        word(context_.live->gate).fetch_or(US_LIVE_UNRECORDED);
        word(context_.live->gate).fetch_and(~US_LIVE_WRITE_OPEN);
        word(context_.resync->members).fetch_and(~members);
        word(context_.resync->unrecorded).fetch_or(members);
        unrecorded_ |= members;
        unrecorded_why_ = reason;
        want_recording();
        return error;
    }
    adopt(std::move(record));
    if (!names.empty())
        context_.notice(true, "mirror \"" + config().name + "\": dropped " + names + ": " + reason);
    return result;
}

int MirrorTarget::record_failures() {
    if (!unrecorded_) return 0;
    MirrorRecord record = next_record();
    if (int error = save(record)) return error;
    context_.notice(true,
                    "mirror \"" + config().name + "\": what had failed is on record now: " + unrecorded_why_);
    adopt(std::move(record));
    return 0;
}

int MirrorTarget::mark_clean(uint64_t epoch) {
    if (!record_.dirty) return 0;
    if (gate_open() || epoch_ != epoch || unrecorded_) return -EAGAIN;
    MirrorRecord record = record_;
    record.dirty = false;
    if (int error = save(record)) return error;
    adopt(std::move(record));
    return 0;
}

int MirrorTarget::take_back(uint32_t child, std::string &refusal) {
    MirrorRecord record = next_record();
    MemberRecord &m = record.members[child];
    if (m.state != MemberState::dropped) {
        refusal = "member \"" + m.name + "\" is " + state_name(m.state) + ", not dropped";
        return -EINVAL;
    }
    if (!context_.members[child].identity) {
        refusal =
            "the media of member \"" + m.name + "\" were not there when the server started: apply again";
        return -ENODEV;
    }
    m = {m.name, m.identity, MemberState::syncing, "it was taken back", utc_now()};
    if (int error = save(record)) {
        refusal = std::string("the state of the mirror cannot be written: ") + strerror(-error);
        return error;
    }
    for (Leaf *leaf : context_.members[child].leaves)
        leaf->forget_sync_error();
    adopt(std::move(record));
    return 0;
}

int MirrorTarget::finish_sync() {
    MirrorRecord record = next_record();
    uint32_t members = word(context_.resync->members).load();
    for (uint32_t i = 0; i < record.members.size(); i++) {
        MemberRecord &m = record.members[i];
        if (!(members >> i & 1) || m.state != MemberState::syncing) continue;
        m = {m.name, m.identity, MemberState::in_sync, "", utc_now()};
    }
    if (int error = save(record)) return error;
    adopt(std::move(record));
    context_.notice(false, "mirror \"" + config().name + "\": in sync");
    return 0;
}

std::string MirrorTarget::readd(const std::string &member) {
    for (uint32_t i = 0; i < context_.members.size(); i++) {
        if (context_.members[i].name != member) continue;
        std::string refusal;
        context_.run_offloaded([&] { return take_back(i, refusal); });
        if (refusal.empty()) want_resync();
        return refusal;
    }
    return "mirror \"" + config().name + "\" has no member \"" + member + "\"";
}

void MirrorTarget::close(const std::vector<const Leaf *> &unflushed) {
    if (!record_.dirty || unrecorded_ || context_.resync->unsettled) return;
    for (size_t i = 0; i < record_.members.size(); i++) {
        if (record_.members[i].state == MemberState::dropped) continue;
        for (const Leaf *leaf : context_.members[i].leaves)
            if (std::find(unflushed.begin(), unflushed.end(), leaf) != unflushed.end()) return;
    }
    word(context_.live->gate).fetch_and(~US_LIVE_WRITE_OPEN);
    MirrorRecord record = record_;
    record.dirty = false;
    if (save(record) == 0)
        adopt(std::move(record)); // else it stays dirty, and a successor looks more closely
}

nlohmann::json MirrorTarget::status() const {
    std::lock_guard lock(mutex_);
    nlohmann::json members = nlohmann::json::array();
    for (const MemberRecord &m : record_.members) {
        nlohmann::json entry = {{"name", m.name}, {"state", state_name(m.state)}, {"since", m.since}};
        if (!m.reason.empty()) entry["reason"] = m.reason;
        members.push_back(std::move(entry));
    }
    nlohmann::json sync = nullptr;
    if (set_of(MemberState::syncing))
        sync = {{"doneBytes", word(context_.resync->position).load()}, {"totalBytes", config().size}};
    return {{"layer", config().name}, {"dirty", record_.dirty}, {"members", members}, {"sync", sync}};
}

} // namespace us
