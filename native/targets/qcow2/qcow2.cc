#include "targets/qcow2/qcow2.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <future>

#include "targets/durable_file.h"

namespace us {

using namespace qcow2;
using nlohmann::json;

namespace {

// Entries that one question about allocation looks at.
constexpr uint32_t MAX_LOOKS = 65536;

} // namespace

struct ExtentsPromise : std::promise<std::vector<FormatExtent>> {};

Qcow2::~Qcow2() {
    if (run_dir_ >= 0) ::close(run_dir_);
}

void Qcow2::load(HandlerContext context) {
    context_ = std::move(context);
    for (const MemberNow &member : context_.members)
        if (!member.trouble.empty()) throw ConfigError("server-start", member.trouble, config().name);
    base_identity_ = context_.members.at(0).identity.value_or("");
    for (uint32_t child : {0u, unit_child()})
        for (const Leaf *leaf : context_.members.at(child).leaves)
            leaves_below_ |= uint64_t{1} << leaf->config().index;
    words_ = std::make_unique<FormatWords>(context_, config().index);
    run_dir_ = ::open(context_.run_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run_dir_ < 0)
        throw ConfigError("io-error", "cannot open " + context_.run_dir + ": " + strerror(errno),
                          config().name);
    std::string text;
    int error = read_whole(context_.state_dir, "qcow2-" + config().name + ".json", text);
    if (error != 0 && error != -ENOENT)
        throw ConfigError("io-error", "cannot read its state: " + std::string(strerror(-error)),
                          config().name);
    json state = json::parse(text, nullptr, false);
    unfinished_ = state.is_object() ? state.value("making", "") : "";
    made_before_ = state.is_object() && state.value("made", false);
    ended_in_order_ = !state.is_object() || !state.value("open", false);
    leaks_ = state.is_object() && state.value("leaks", false);
}

LayerPlace Qcow2::place_of(uint32_t child) const {
    const MemberNow &member = context_.members.at(child);
    LayerPlace place;
    place.layer = config().children.at(child);
    place.size = member.size;
    place.block = member.block;
    if (member.single_leaf && member.leaves.at(0)->grows()) place.growing = member.leaves[0];
    bool is_data = child != 0 && child == data_child_;
    if ((child == 0 || is_data) && context_.nr_child_slots != 0) {
        uint32_t half = context_.nr_child_slots / 2;
        place.inflight = context_.inflight;
        place.first_slot = context_.child_slots + (is_data ? half : 0);
        place.nr_slots = half;
    }
    return place;
}

uint64_t Qcow2::wanted_words() const {
    const json &params = config().params;
    uint64_t cluster = params.value("clusterBytes", uint64_t{65536});
    uint64_t unit = params.value("extendedL2", false) ? cluster / US_QCOW2_SUBCLUSTERS : cluster;
    // The rest is for tables: a word tells what an entry does.
    uint64_t most = params.value("cacheBytes", ImageOptions{}.cache_bytes) / 4 / sizeof(us_words::word[0]);
    return std::min(config().size / std::max<uint64_t>(unit, US_SECTOR_BYTES) + 1, most);
}

uint32_t Qcow2::unit_child() const {
    bool backing = config().params.value("backing", false), data = config().params.value("dataFile", false);
    return data ? 1 + backing : 0;
}

Task<int> Qcow2::shut(Executor &executor) {
    if (!image_ || config().read_only) co_return 0;
    int error = co_await image_->close(executor);
    if (error != 0) co_return error;
    unlinkat(run_dir_, ("qcow2-" + config().name).c_str(), 0);
    co_return record(false);
}

Task<IoResult> Qcow2::execute(Executor &executor, LeafIo io, const Run &run) {
    if (!image_) co_return IoResult{-EIO, 0}; // refused: a mirror above goes on without it
    int error = 0;
    if (io.op == US_OP_READ)
        error = co_await image_->read(executor, io.offset, {io.buffer.data, io.length});
    else if (us_op_writes(io.op))
        error = co_await change(executor, io);
    else if (io.op == US_OP_FLUSH && !config().read_only)
        error = co_await flush(executor, io, run);
    if (error == -EUCLEAN) error = -EIO; // what a client understands; the image is marked
    co_return IoResult{error, error == 0 ? io.length : 0};
}

// One that has failed on the fast path is not asked again (targets/io.h): but mirrors below have to hear of
// it, and may do without the member that it was for.
Task<int> Qcow2::flush(Executor &executor, const LeafIo &io, const Run &run) {
    if (io.failed_sync && io.failed_sync->leaves & leaves_below_) {
        image_->distrust();
        LeafIo flush;
        flush.op = US_OP_FLUSH;
        flush.failed_sync = io.failed_sync;
        for (uint32_t i = 0; i < flush_children(); i++) {
            IoResult result = co_await executor.execute(config().children[i], flush, run);
            if (result.error != 0) co_return result.error;
        }
    }
    int error = co_await image_->flush(executor);
    co_return error;
}

Task<int> Qcow2::change(Executor &executor, const LeafIo &io) {
    if (config().read_only) co_return -EROFS;
    bool v2 = image_->header().version < 3;
    int error = 0;
    if (io.op == US_OP_WRITE) {
        error = co_await image_->write(executor, io.offset, {io.buffer.data, io.length});
        if (error == 0 && io.flags & IO_FUA) error = co_await image_->flush(executor);
    } else if (io.op == US_OP_WRITE_ZEROES) {
        if (v2 && io.flags & IO_FAST_ONLY) co_return -EOPNOTSUPP;
        error = co_await image_->zero(executor, io.offset, io.length, io.flags & IO_NO_UNMAP);
    } else if (v2) {
        error = co_await image_->discard(executor, io.offset, io.length);
    } else {
        error =
            co_await image_->zero(executor, io.offset, io.length, false); // reads zeros, as with all layers
    }
    co_return error;
}

std::vector<FormatExtent> Qcow2::extents(uint64_t offset, uint64_t length) {
    auto promise = std::make_shared<ExtentsPromise>();
    auto result = promise->get_future();
    context_.on_background_queue([this, offset, length, promise = std::move(promise)](Executor &executor) {
        executor.spawn(look(executor, offset, length, promise));
    });
    try {
        return result.get();
    } catch (const std::future_error &) { // dropped with the queue
        return {FormatExtent{FormatExtent::data, length}};
    }
}

Task<void> Qcow2::look(Executor &executor, uint64_t offset, uint64_t length,
                       std::shared_ptr<ExtentsPromise> promise) {
    std::vector<FormatExtent> extents;
    uint32_t looks = 0;
    for (uint64_t done = 0; done < length && looks < MAX_LOOKS; looks++) {
        us_qcow2_run run{};
        int error = -EIO;
        if (image_) error = co_await image_->look_up(executor, offset + done, run);
        FormatExtent extent{FormatExtent::data, std::min<uint64_t>(run.length, length - done)};
        if (error != 0)
            extent.length = length - done; // data: always a right answer
        else if (run.kind == US_QCOW2_UNALLOCATED && backing_)
            extent = {FormatExtent::below, extent.length, 1, offset + done};
        else if (run.kind == US_QCOW2_UNALLOCATED || run.kind == US_QCOW2_ZEROS)
            extent.kind = FormatExtent::zeros;
        done += extent.length;
        if (!extents.empty() && extents.back().kind == extent.kind)
            extents.back().length += extent.length;
        else
            extents.push_back(extent);
    }
    promise->set_value(std::move(extents));
}

Task<int> Qcow2::look_up(Executor &executor, uint64_t offset, uint64_t length, FormatPlace &place) {
    if (!image_) co_return -EIO;
    us_qcow2_run run{};
    if (int error = co_await image_->look_up(executor, offset, run)) co_return error;
    place = {std::min<uint64_t>(run.length, length), run.kind == US_QCOW2_DATA, run.host};
    co_return 0;
}

json Qcow2::snapshots(const json &request) {
    if (!opened_.load(std::memory_order_acquire))
        return {{"error", {{"code", "snapshot-refused"}, {"message", "the layer is not being served"}}}};
    if (request.value("op", "") == "compact") {
        if (!compact_) compact_.emplace(*image_, config().read_only, context_.on_background_queue);
        return compact_->answer(request);
    }
    if (!snapshots_)
        snapshots_.emplace(*image_, config().size, config().read_only, context_.on_background_queue);
    return snapshots_->answer(request);
}

json Qcow2::status() const {
    json status = {{"layer", config().name}};
    if (!opened_.load(std::memory_order_acquire)) return status;
    const Header &header = image_->header();
    status["version"] = header.version;
    status["clusterBytes"] = header.cluster_bytes();
    status["compression"] = header.compression == Compression::zstd ? "zstd" : "zlib";
    status["corrupt"] = image_->corrupt();
    status["snapshots"] = image_->snapshots().size();
    return status;
}

} // namespace us
