#include "targets/flakey/flakey.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace us {

namespace {

struct Kind {
    const char *name;
    const char *ops;
};
constexpr Kind KINDS[Flakey::NR_FAULTS] = {
    {"dropWrites", "write,discard,write-zeroes"},
    {"tornWrites", "write,write-zeroes"},
    {"misdirectWrites", "write"},
    {"corruptWrites", "write"},
    {"loseFlushes", "flush,write"},
    {"misdirectReads", "read"},
    {"staleReads", "read"},
    {"corruptReads", "read"},
};

constexpr uint64_t DEFAULT_HISTORY_BYTES = 16 << 20;

// Those of one fault, under their own names.
nlohmann::json params_of(const nlohmann::json &params, const std::string &fault) {
    nlohmann::json own = nlohmann::json::object();
    for (const auto &[name, value] : params.items())
        if (name.starts_with(fault + ".")) own[name.substr(fault.size() + 1)] = value;
    return own;
}

std::optional<uint64_t> number(const nlohmann::json &params, const char *name) {
    auto found = params.find(name);
    if (found == params.end()) return {};
    return found->get<uint64_t>();
}

struct Free {
    void operator()(std::byte *memory) const { free(memory); }
};
using Memory = std::unique_ptr<std::byte, Free>;

// Aligned for direct IO.
Memory allocate(uint64_t bytes) {
    return Memory(static_cast<std::byte *>(aligned_alloc(4096, (bytes + 4095) / 4096 * 4096)));
}

} // namespace

Instrument::Watch Flakey::configure(const nlohmann::json &params) {
    auto settings = std::make_shared<Settings>();
    uint64_t seed = params.value("seed", uint64_t{0});
    Watch watch{0, UINT64_MAX, 0};
    for (uint32_t f = 0; f < NR_FAULTS; f++) {
        nlohmann::json own = params_of(params, KINDS[f].name);
        if (own.empty()) continue;
        own["seed"] = hash_of(seed, f);
        auto chooser = std::make_unique<Chooser>(own, KINDS[f].ops);
        settings->byte[f] = number(own, "byte");
        settings->value[f] = number(own, "value");
        if (settings->value[f].value_or(0) > 255)
            throw ConfigError("bad-value", "the value of a byte is 0 to 255");
        watch.ops |= chooser->ops();
        watch.start = std::min(watch.start, chooser->start());
        watch.end = std::max(watch.end, chooser->end());
        settings->faults[f] = std::move(chooser);
    }
    bool remembers = settings->faults[STALE_READS] != nullptr;
    history_.allow(remembers ? params.value("historyBytes", DEFAULT_HISTORY_BYTES) : 0, block());
    if (remembers) {
        watch.ops |= 1u << US_OP_WRITE | 1u << US_OP_DISCARD | 1u << US_OP_WRITE_ZEROES;
        watch.start = 0; // a write next to the range may be misdirected into it
        watch.end = UINT64_MAX;
    }
    settings_.store(std::move(settings));
    return watch;
}

nlohmann::json Flakey::counts() const {
    nlohmann::json counts = nlohmann::json::object();
    for (uint32_t f = 0; f < NR_FAULTS; f++)
        counts[KINDS[f].name] = counts_[f].load(std::memory_order_relaxed);
    return counts;
}

bool Flakey::strikes(Settings &settings, Fault fault, const LeafIo &io, uint64_t &chance) {
    return settings.faults[fault] && settings.faults[fault]->strikes(io, chance);
}

// As device mapper's corrupt_bio_byte where a byte is named (from 1), else as its random_read_corrupt.
// Changed it is, where the value is left to chance.
void Flakey::corrupt(const Settings &settings, Fault fault, std::byte *data, uint64_t length,
                     uint64_t chance) const {
    uint64_t at = settings.byte[fault] ? *settings.byte[fault] - 1 : (chance >> 8) % length;
    if (at >= length) return;
    if (settings.value[fault])
        data[at] = static_cast<std::byte>(*settings.value[fault]);
    else
        data[at] ^= static_cast<std::byte>(1 + chance % 255);
}

// Another place where the request fits, as far as there is one.
uint64_t Flakey::elsewhere(const LeafIo &io, uint64_t chance) const {
    uint64_t places = (config().size - io.length) / block();
    if (places == 0) return io.offset;
    uint64_t place = chance % places;
    return place * block() + (place * block() >= io.offset ? block() : 0);
}

Task<IoResult> Flakey::execute(Executor &executor, LeafIo io, const Run &run) {
    std::shared_ptr<Settings> settings = settings_.load();
    uint64_t chance = 0;
    IoResult result{0, io.length};
    if (io.op == US_OP_FLUSH && strikes(*settings, LOSE_FLUSHES, io, chance)) {
        count(LOSE_FLUSHES);
        co_return result;
    }
    if (io.op == US_OP_READ)
        result = co_await read(executor, io, run, *settings);
    else if (us_op_writes(io.op))
        result = co_await write(executor, io, run, *settings);
    else
        result = co_await pass(executor, io, run);
    co_return result;
}

Task<IoResult> Flakey::read(Executor &executor, LeafIo io, const Run &run, Settings &settings) {
    uint64_t chance = 0;
    LeafIo asked = io;
    if (strikes(settings, MISDIRECT_READS, io, chance)) {
        asked.offset = elsewhere(io, chance);
        if (asked.offset != io.offset) count(MISDIRECT_READS);
    }
    IoResult result = co_await pass(executor, asked, run);
    if (result.error != 0) co_return result;
    if (strikes(settings, STALE_READS, io, chance) &&
        history_.recall(asked.offset, io.buffer.data, io.length))
        count(STALE_READS);
    if (strikes(settings, CORRUPT_READS, io, chance)) {
        corrupt(settings, CORRUPT_READS, io.buffer.data, io.length, chance);
        count(CORRUPT_READS);
    }
    co_return result;
}

Task<IoResult> Flakey::write(Executor &executor, LeafIo io, const Run &run, Settings &settings) {
    const IoResult done{0, io.length};
    uint64_t chance = 0;
    LeafIo sent = io;
    if (strikes(settings, DROP_WRITES, io, chance)) {
        count(DROP_WRITES);
        co_return done;
    }
    if ((io.flags & IO_FUA) && strikes(settings, LOSE_FLUSHES, io, chance)) {
        sent.flags &= ~uint32_t{IO_FUA};
        count(LOSE_FLUSHES);
    }
    Memory changed;
    if (strikes(settings, CORRUPT_WRITES, io, chance)) {
        changed = allocate(io.length);
        if (!changed) co_return IoResult{-ENOMEM, 0};
        // Of the client's bytes, others may be made beside this: they stay as they are.
        memcpy(changed.get(), io.buffer.data, io.length);
        corrupt(settings, CORRUPT_WRITES, changed.get(), io.length, chance);
        sent.buffer = IoBuffer{changed.get(), -1, 0};
        count(CORRUPT_WRITES);
    }
    if (strikes(settings, MISDIRECT_WRITES, io, chance)) {
        sent.offset = elsewhere(io, chance);
        if (sent.offset != io.offset) count(MISDIRECT_WRITES);
    }
    if (io.length > block() && strikes(settings, TORN_WRITES, io, chance)) {
        uint64_t cut = (1 + (chance >> 1) % (io.length / block() - 1)) * block();
        uint64_t skipped = chance & 1 ? cut : 0;
        sent.length = skipped ? io.length - cut : cut;
        sent.offset += skipped;
        if (sent.op == US_OP_WRITE) sent.buffer = sent.buffer.at(skipped);
        count(TORN_WRITES);
    }
    if (settings.faults[STALE_READS]) co_await remember(executor, sent, run);
    IoResult result = co_await pass(executor, sent, run);
    if (result.error == 0) co_return done;
    // How much of a torn or misdirected write came to its own place is nobody's business: it has failed.
    if (sent.offset != io.offset || sent.length != io.length) result.good = 0;
    co_return result;
}

// Best effort: what cannot be read now cannot be read stale later.
Task<void> Flakey::remember(Executor &executor, LeafIo io, const Run &run) {
    if (!history_.holds(io.length)) co_return;
    Memory memory = allocate(io.length);
    if (!memory) co_return;
    LeafIo read;
    read.offset = io.offset;
    read.length = io.length;
    read.buffer.data = memory.get();
    IoResult result = co_await pass(executor, read, run);
    if (result.error == 0) history_.remember(io.offset, memory.get(), io.length);
}

} // namespace us
