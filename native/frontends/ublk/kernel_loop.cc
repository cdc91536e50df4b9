#include "frontends/ublk/kernel_loop.h"

#include <liburing.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "engine/graph_impl.h"
#include "engine/log.h"
#include "engine/scheduling.h"
#include "frontends/ublk/queue.h"
#include "frontends/ublk/shared_region.h"
#include "frontends/ublk/uapi.h"

namespace us::ublk {

namespace {

// Limits of io_uring (io_uring_setup(2)): submission entries, and twice as many completions.
constexpr uint32_t MIN_ENTRIES = 256, MAX_ENTRIES = 32768;

// About what going to sleep and being woken takes.
constexpr uint64_t SPIN_NS = 50'000;

us_loop_leaf loop_leaf(const Leaf &leaf, uint32_t file) {
    KernelPath path = leaf.kernel_path();
    return {.access = path.stores ? US_LOOP_FILE : US_LOOP_NOWHERE,
            .file = file,
            .async_bytes = path.async_bytes,
            .flush = path.flush};
}

// A message that does not arrive would leave a request without an answer for ever.
void must_arrive(Completion &, int32_t result, uint32_t) {
    if (result >= 0) return;
    log(Level::error, std::string("cannot reach the loop in the kernel: ") + strerror(-result));
    _exit(1); // the next server takes over
}

} // namespace

KernelLoop::KernelLoop(Graph &graph, const DeviceFacts &facts, uint16_t queue, Polling polling,
                       const Inbox &inbox)
    : facts_(facts), queue_(queue), table_(graph.table()), inbox_(inbox), leaves_(US_MAX_LAYERS) {
    uint32_t depth = facts.info.queue_depth;
    // Every completion has room: pieces of all requests, and of each a fetch and a message.
    uint32_t completions =
        std::clamp(std::bit_ceil(depth * (US_LOOP_MAX_PIECES + 2)), 2 * MIN_ENTRIES, 2 * MAX_ENTRIES);
    ring_ = std::make_unique<KernelRing>(std::clamp(std::bit_ceil(depth * 2), MIN_ENTRIES, MAX_ENTRIES),
                                         completions);

    std::vector<int> files;
    for (uint32_t i = 0; i < table_.nr_layers; i++) {
        config_.types |= 1u << table_.layers[i].type;
        Leaf *leaf = graph.impl().leaves[i];
        if (!leaf) continue;
        leaves_[i] = loop_leaf(*leaf, static_cast<uint32_t>(files.size()));
        files.push_back(leaf->fd());
    }
    char_file_ = static_cast<uint32_t>(files.size());
    files.push_back(facts.char_fd);
    ring_->register_files(files);
    ring_->register_buffers(depth);

    if (LiveFile *live = graph.impl().live_file.get()) {
        const DeviceConfig &device = graph.impl().config;
        SharedRegion region(live->memory(), graph.words());
        ring_->register_region(region.memory().data(), region.memory().size());
        config_.shared = 1;
        config_.tracked = device.has_mirror || device.has_format;
        config_.tracks_reads = device.has_format;
        config_.region_bytes = static_cast<us_u32>(region.memory().size());
        config_.words_offset = static_cast<us_u32>(region.words_offset());
        config_.live_offset = static_cast<us_u32>(live->live_offset());
        config_.slots_offset = static_cast<us_u32>(live->slot_offset(live->request_slot(queue, 0)));
    }
    ring_->describe(config_);
    config_.depth = depth;
    config_.max_pieces = std::min<uint32_t>(US_LOOP_MAX_PIECES, ring_->cq_entries() / depth - 2);
    config_.queue = queue;
    config_.char_file = char_file_;
    config_.commit_op = IO_COMMIT_AND_FETCH_REQ;
    config_.auto_buf_flags = static_cast<us_u32>(auto_buf_reg(0, AUTO_BUF_REG_FALLBACK));
    config_.root = facts.root;
    config_.read_only = facts.read_only;
    config_.pass_flushes = graph.orders_flushes();
    config_.size_bytes = facts.size_bytes;
    config_.passed_stride = inbox.stride;
    config_.spin_ns = polling == Polling::off ? 0 : SPIN_NS;
    config_.spin_adapts = polling == Polling::adaptive;
}

bool KernelLoop::load(std::optional<VerifiedProgram> kept) {
    std::vector<std::byte> constants = program_constants(config_, leaves_.data(), table_);
    bool fits = kept && kept->has(constants);
    if (!fits) kept = VerifiedProgram::load(constants);
    program_ = std::make_unique<KernelProgram>(ring_->fd(), std::move(*kept));
    us_loop_counters &words = program_->counters();
    words.descriptors = inbox_.descriptors;
    words.passed_base = inbox_.first_tag;
    words.abort_data = inbox_.aborted;
    words.crowd_data = inbox_.crowded;
    return fits;
}

KernelLoop::~KernelLoop() {
    join();
}

void KernelLoop::start(Queue &executor, const cpu_set_t &cpus, std::function<void()> ended) {
    executor_ = &executor;
    program_->counters().executor_ring = static_cast<us_u32>(executor.ring().ring_fd);
    thread_ = std::thread([this, cpus, ended = std::move(ended)] {
        pthread_setname_np(pthread_self(), ("ublk-k" + std::to_string(queue_)).c_str());
        if (CPU_COUNT(&cpus) > 0) pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
        run(ended);
    });
}

void KernelLoop::fetch_all() {
    for (uint32_t tag = 0; tag < facts_.info.queue_depth; tag++) {
        io_uring_sqe *sqe = ring_->first_entry();
        sqe->opcode = IORING_OP_URING_CMD;
        sqe->flags = IOSQE_FIXED_FILE;
        sqe->fd = static_cast<int>(char_file_);
        sqe->off = IO_FETCH_REQ;
        sqe->addr = auto_buf_reg(static_cast<uint16_t>(tag), AUTO_BUF_REG_FALLBACK);
        sqe->user_data = US_LOOP_USER_DATA(US_LOOP_FETCH, tag);
        io_cmd command{};
        command.q_id = queue_;
        command.tag = static_cast<uint16_t>(tag);
        memcpy(sqe->cmd, &command, sizeof(command));
    }
}

void KernelLoop::run(const std::function<void()> &ended) {
    ring_->enable();
    fetch_all();
    int result;
    do {
        enters_.fetch_add(1, std::memory_order_relaxed);
        result = ring_->run();
    } while (result == -EINTR);
    if (result == 0) return ended();
    log(Level::error,
        "the loop of queue " + std::to_string(queue_) + " in the kernel ended: " + strerror(-result));
    _exit(1); // the next server takes over
}

void KernelLoop::pass_back(Completion &sent, uint32_t tag, int32_t result) {
    message(sent, US_LOOP_USER_DATA(US_LOOP_DONE, tag), result);
}

void KernelLoop::stop() {
    message(stop_sent_, US_LOOP_USER_DATA(US_LOOP_STOP, 0), 0);
}

void KernelLoop::schedule(bool crowded) {
    schedule_for_crowds(thread_.native_handle(), crowded);
}

void KernelLoop::join() {
    if (thread_.joinable()) thread_.join();
}

void KernelLoop::message(Completion &sent, uint64_t user_data, int32_t result) {
    sent.fn = must_arrive;
    io_uring_sqe *sqe = executor_->prepare(sent);
    io_uring_prep_msg_ring(sqe, ring_->fd(), static_cast<unsigned>(result), user_data, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = reinterpret_cast<uintptr_t>(&sent);
}

} // namespace us::ublk
