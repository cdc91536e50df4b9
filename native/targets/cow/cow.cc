#include "targets/cow/cow.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace us {

namespace {

struct Free {
    void operator()(std::byte *memory) const { free(memory); }
};

uint64_t round_down(uint64_t value, uint64_t unit) {
    return value / unit * unit;
}

} // namespace

Cow::~Cow() {
    if (memory_ >= 0) ::close(memory_);
}

void Cow::fill(us_layer &layer, us_link *links, const std::vector<uint64_t> &sizes) const {
    Instrument::fill(layer, links, sizes);
    if (sizes.size() > 2) refuse("it takes a base and an overlay");
    if (sizes.size() == 2 && config().size > sizes[1]) refuse("its overlay is smaller than its base");
}

void Cow::load(HandlerContext given) {
    adopt(std::move(given));
    granule_bytes_ = config().params.value("granuleBytes", granule_bytes_);
    if (!std::has_single_bit(granule_bytes_) || granule_bytes_ < config().geometry.logical_block)
        throw ConfigError("server-start", "granuleBytes is not a power of two from its block size on",
                          config().name);
    const std::vector<MemberNow> &members = context().members;
    if (has_overlay_layer() && !members[1].trouble.empty())
        throw ConfigError("server-start", members[1].trouble, config().name);

    const std::string path = context().run_dir + "/cow-" + config().name;
    std::string owner = context().boot_id + "\n" + std::to_string(granule_bytes_) + "\n" + identity() + "\n" +
                        (has_overlay_layer() ? members[1].identity.value_or("") : "memory");
    bool fresh = false;
    uint64_t nr_granules = (config().size + granule_bytes_ - 1) / granule_bytes_;
    if (int error = map_.open(path, owner, nr_granules, fresh))
        throw ConfigError(error == -ENOSPC ? "no-space" : "io-error",
                          "cannot open " + path + ": " + strerror(-error), config().name);
    std::string asked = config().params.value("reset", "");
    bool reset = map_.resetting() || (!fresh && !asked.empty() && asked != map_.asked_by());
    if (reset) map_.begin_reset();
    if (!has_overlay_layer()) open_memory(path + "-overlay", fresh || reset);
    if (reset || fresh) map_.end_reset(asked);
    set(config().params);
    serving_ = true;
}

void Cow::open_memory(const std::string &path, bool anew) {
    memory_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool bad = memory_ < 0 || (anew && ftruncate(memory_, 0) != 0) ||
               ftruncate(memory_, static_cast<off_t>(config().size)) != 0;
    if (bad) throw ConfigError("io-error", "cannot open " + path + ": " + strerror(errno), config().name);
}

Instrument::Watch Cow::configure(const nlohmann::json &params) {
    std::string asked = params.value("reset", "");
    if (serving_ && !asked.empty() && asked != map_.asked_by()) reset(asked);
    return {~0u, 0, UINT64_MAX};
}

nlohmann::json Cow::counts() const {
    uint64_t granules = map_.count();
    return {{"overlayBytes", granules * granule_bytes_},
            {"copiedUp", counts_.copied_up.load(std::memory_order_relaxed)},
            {"resets", counts_.resets.load(std::memory_order_relaxed)}};
}

Task<IoResult> Cow::execute(Executor &executor, LeafIo io, const Run &run) {
    IoResult result{0, io.length};
    if (io.op == US_OP_READ)
        result = co_await read(executor, io, run);
    else if (us_op_writes(io.op))
        result = co_await change(executor, io, run);
    co_return result; // a flush, or advice
}

Task<IoResult> Cow::read(Executor &executor, LeafIo io, const Run &run) {
    Turns::Ticket turn = co_await turns_.begin(executor, 0, 0);
    IoResult result{0, io.length};
    for (uint64_t done = 0; done < io.length && result.error == 0;) {
        LeafIo piece = io;
        piece.offset += done;
        piece.buffer = io.buffer.at(done);
        uint64_t first = piece.offset / granule(), last = (io.offset + io.length - 1) / granule();
        bool above = map_.has(first);
        uint64_t end = map_.run_end(first, last + 1, above) * granule();
        piece.length = std::min(end, io.offset + io.length) - piece.offset;
        IoResult got{};
        if (above)
            got = co_await overlay(executor, piece, run);
        else
            got = co_await pass(executor, piece, run);
        result = {got.error, done + got.good};
        done += piece.length;
    }
    turns_.end(turn);
    co_return result;
}

Task<IoResult> Cow::change(Executor &executor, LeafIo io, const Run &run) {
    uint64_t first = io.offset / granule(), last = (io.offset + io.length - 1) / granule();
    Turns::Ticket turn = co_await turns_.begin(executor, first, last + 1);
    IoResult result = co_await change_alone(executor, io, run);
    turns_.end(turn);
    co_return result;
}

// Granules of which only a part is changed, and which are not in the overlay yet, are the first or the last:
// those are copied up. All that lies between goes there in one piece.
Task<IoResult> Cow::change_alone(Executor &executor, LeafIo io, const Run &run) {
    const uint64_t end = io.offset + io.length;
    io.flags &= IO_FAST_ONLY; // neither durability nor kept blocks mean anything here
    if (io.op == US_OP_DISCARD) io.op = US_OP_WRITE_ZEROES;
    for (uint64_t done = 0; done < io.length;) {
        LeafIo piece = io;
        piece.offset += done;
        if (io.op == US_OP_WRITE) piece.buffer = io.buffer.at(done);
        uint64_t first = piece.offset / granule(), start = first * granule();
        uint64_t until = std::min(start + granule(), config().size);
        bool whole = piece.offset == start && end >= until;
        IoResult result{};
        if (!whole && !map_.has(first)) {
            piece.length = std::min(until, end) - piece.offset;
            result = co_await copy_up(executor, first, piece, run);
        } else {
            // The tail, too, where it is the layer's end, or there is nothing to be copied up.
            uint64_t tail = round_down(end, granule());
            bool with_tail = end == config().size || end == tail || map_.has(tail / granule());
            uint64_t stop = with_tail ? end : std::max(tail, std::min(until, end));
            piece.length = stop - piece.offset;
            result = co_await overlay(executor, piece, run);
            if (result.error == 0) map_.add(first, (stop + granule() - 1) / granule());
        }
        if (result.error != 0) co_return IoResult{result.error, done + result.good};
        done += piece.length;
    }
    co_return IoResult{0, io.length};
}

// All or nothing: the bit is set once the granule is there.
Task<IoResult> Cow::copy_up(Executor &executor, uint64_t index, const LeafIo &part, const Run &run) {
    LeafIo all;
    all.offset = index * granule();
    all.length = std::min(granule(), config().size - all.offset);
    uint64_t align = std::max<uint64_t>(granule(), 4096);
    std::unique_ptr<std::byte, Free> memory(static_cast<std::byte *>(aligned_alloc(4096, align)));
    if (!memory) co_return IoResult{-ENOMEM, 0};
    all.buffer.data = memory.get();
    IoResult result = co_await pass(executor, all, run);
    if (result.error != 0) co_return IoResult{result.error, 0};

    std::byte *at = memory.get() + (part.offset - all.offset);
    if (part.op == US_OP_WRITE)
        memcpy(at, part.buffer.data, part.length);
    else
        memset(at, 0, part.length);
    all.op = US_OP_WRITE;
    result = co_await overlay(executor, all, run);
    if (result.error != 0) co_return IoResult{result.error, 0};
    map_.add(index, index + 1);
    counts_.copied_up.fetch_add(1, std::memory_order_relaxed);
    co_return IoResult{0, part.length};
}

Task<IoResult> Cow::overlay(Executor &executor, LeafIo io, const Run &run) {
    IoResult result{};
    if (has_overlay_layer())
        result = co_await executor.execute(config().children[1], io, run);
    else
        result = in_memory(io);
    co_return result;
}

IoResult Cow::in_memory(const LeafIo &io) const {
    auto offset = static_cast<off_t>(io.offset);
    if (io.op == US_OP_WRITE_ZEROES) {
        int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        bool ok = fallocate(memory_, mode, offset, static_cast<off_t>(io.length)) == 0;
        return ok ? IoResult{0, io.length} : IoResult{-errno, 0};
    }
    for (uint64_t done = 0; done < io.length;) {
        std::byte *at = io.buffer.data + done;
        off_t from = offset + static_cast<off_t>(done);
        ssize_t n = io.op == US_OP_READ ? pread(memory_, at, io.length - done, from)
                                        : pwrite(memory_, at, io.length - done, from);
        if (n <= 0) return {n < 0 ? -errno : -EIO, done};
        done += static_cast<uint64_t>(n);
    }
    return {0, io.length};
}

} // namespace us
