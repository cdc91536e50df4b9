#include "frontends/ublk/queue.h"

#include <liburing.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include "engine/log.h"
#include "engine/privileges.h"

namespace us::ublk {

struct DeviceQueue::Tag : Request {
    struct Step : Completion {
        Tag *tag = nullptr;
    };
    DeviceQueue *queue = nullptr;
    Step fetch;         // FETCH and COMMIT_AND_FETCH, or what the loop passes on
    Completion sent;    // back to the loop
    Step registration;  // REGISTER_IO_BUF and UNREGISTER_IO_BUF
    int32_t result = 0; // what COMMIT will say
    bool registered = false;
};

namespace {

void *map_or_throw(size_t bytes, int protection, int flags, int fd, off_t offset, const char *what) {
    void *at = mmap(nullptr, bytes, protection, flags, fd, offset);
    if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), what);
    return at;
}

// Bytes of a partly good read may only be handed in where the driver looks at the number: with copying it
// asks for the rest again, which then fails alone. Elsewhere any result from 0 on counts as all bytes done
// (ublk_drv.c,
// __ublk_complete_rq), so one bad byte has to fail the whole request.
int32_t result_of(const Request &request, bool zero_copy) {
    bool moves_data = request.op == US_OP_READ || request.op == US_OP_WRITE;
    if (request.error == 0) return moves_data ? static_cast<int32_t>(request.length) : 0;
    if (request.op == US_OP_READ && !zero_copy) {
        uint64_t good = request.good_bytes & ~(US_SECTOR_BYTES - 1);
        if (good > 0) return static_cast<int32_t>(good);
    }
    return request.error;
}

} // namespace

DeviceQueue::DeviceQueue(Graph &graph, const DeviceFacts &facts, uint16_t index, const cpu_set_t &cpus,
                         std::function<void()> aborted)
    : graph_(graph), facts_(facts), index_(index), cpus_(cpus), aborted_(std::move(aborted)) {}

DeviceQueue::~DeviceQueue() {
    if (thread_.joinable()) {
        if (!went_)
            go_.set_value(false);
        else
            stop();
        thread_.join();
    }
    if (engine_) engine_->counters().kernel.store(nullptr, std::memory_order_release);
    loop_.reset();
    engine_.reset();
    if (descriptors_ != nullptr) munmap(const_cast<io_desc *>(descriptors_), descriptors_bytes_);
    if (buffers_ != nullptr) munmap(buffers_, buffers_bytes_);
}

std::future<void> DeviceQueue::prepare() {
    std::promise<void> prepared;
    std::future<void> future = prepared.get_future();
    // Signals are for the main thread: inherit a mask that blocks them all.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this, p = std::move(prepared)]() mutable { run(std::move(p)); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return future;
}

void DeviceQueue::serve() {
    went_ = true;
    go_.set_value(true);
}

void DeviceQueue::stop() {
    engine_->post([this] {
        stopping_ = true;
        if (!loop_)
            engine_->stop();
        else if (!std::exchange(loop_told_, true))
            loop_->stop(); // it may still pass requests on; at its end this engine ends too
    });
}

void DeviceQueue::join() {
    thread_.join();
    if (loop_) loop_->join();
}

void DeviceQueue::map_descriptors() {
    if (descriptors_ != nullptr) return;
    auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    descriptors_bytes_ = (facts_.info.queue_depth * sizeof(io_desc) + page - 1) / page * page;
    auto offset = static_cast<off_t>(CMD_BUF_OFFSET + index_ * cmd_buf_stride());
    descriptors_ = static_cast<const io_desc *>(
        map_or_throw(descriptors_bytes_, PROT_READ, MAP_SHARED | MAP_POPULATE, facts_.char_fd, offset,
                     "cannot map the request descriptors of /dev/ublkcN"));
}

void DeviceQueue::set_up_tags() {
    if (!tags_.empty()) return;
    tags_ = std::vector<Tag>(facts_.info.queue_depth);
    for (uint32_t i = 0; i < tags_.size(); i++) {
        Tag &tag = tags_[i];
        tag.tag = i;
        tag.queue = this;
        tag.root = facts_.root;
        tag.Request::done = [](Request &request) {
            auto &self = static_cast<Tag &>(request);
            self.queue->done(self);
        };
        tag.fetch.tag = tag.registration.tag = &tag;
        tag.fetch.fn = [](Completion &step, int32_t result, uint32_t) {
            Tag &self = *static_cast<Tag::Step &>(step).tag;
            self.queue->fetched(self, result);
        };
    }
}

KernelLoop &DeviceQueue::put_into_kernel(Polling polling) {
    map_descriptors();
    set_up_tags();
    KernelLoop::Inbox inbox{
        .descriptors = reinterpret_cast<uintptr_t>(descriptors_),
        .first_tag = reinterpret_cast<uintptr_t>(static_cast<Completion *>(&tags_[0].fetch)),
        .stride = sizeof(Tag),
        .crowded = reinterpret_cast<uintptr_t>(static_cast<Completion *>(&crowd_note_)),
        .aborted = reinterpret_cast<uintptr_t>(static_cast<Completion *>(&aborted_note_)),
    };
    loop_ = std::make_unique<KernelLoop>(graph_, facts_, index_, polling, inbox);
    aborted_note_.queue = this;
    aborted_note_.fn = [](Completion &note, int32_t result, uint32_t) {
        DeviceQueue &self = *static_cast<Note &>(note).queue;
        if (result != 0) self.lost("fetching a request", self.tags_[0], result);
        if (!self.stopping_) self.aborted_();
    };
    crowd_note_.queue = this;
    crowd_note_.fn = [](Completion &note, int32_t crowded, uint32_t) {
        static_cast<Note &>(note).queue->loop_->schedule(crowded != 0);
    };
    for (Tag &tag : tags_)
        tag.fetch.fn = [](Completion &step, int32_t, uint32_t) {
            Tag &self = *static_cast<Tag::Step &>(step).tag;
            self.queue->passed_on(self);
        };
    return *loop_;
}

void DeviceQueue::take_out_of_kernel() {
    loop_.reset();
    tags_.clear(); // set up anew, to be fetched by this thread
}

void DeviceQueue::set_up() {
    pthread_setname_np(pthread_self(), ("ublk-q" + std::to_string(index_)).c_str());
    if (CPU_COUNT(&cpus_) > 0) {
        int error = pthread_setaffinity_np(pthread_self(), sizeof(cpus_), &cpus_);
        if (error != 0)
            log(Level::warn, "queue " + std::to_string(index_) + " cannot run on the CPUs that it serves: " +
                                 std::generic_category().message(error));
    }

    uint32_t depth = facts_.info.queue_depth;
    QueueOptions options;
    options.index = index_;
    options.depth = depth;
    // The second half is for requests whose own place was still taken.
    options.fixed_buffers = loop_ ? depth : facts_.zero_copy() ? 2 * depth : 0;
    engine_ = std::make_unique<Queue>(graph_, options);
    if (loop_) engine_->counters().kernel.store(&loop_->counters(), std::memory_order_release);
    int fd = facts_.char_fd;
    int error = io_uring_register_files_update(&engine_->ring(), engine_->frontend_file(), &fd, 1);
    if (error < 0)
        throw std::system_error(-error, std::generic_category(), "cannot register /dev/ublkcN with the ring");

    map_descriptors();
    if (!facts_.zero_copy()) {
        buffers_bytes_ = static_cast<size_t>(depth) * facts_.info.max_io_buf_bytes;
        buffers_ = static_cast<std::byte *>(map_or_throw(buffers_bytes_, PROT_READ | PROT_WRITE,
                                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
                                                         "cannot allocate request buffers"));
    }

    set_up_tags();
}

void DeviceQueue::run(std::promise<void> prepared) {
    try {
        set_up();
        if (index_ == 0) graph_.make_ready(*engine_);
        prepared.set_value();
    } catch (...) {
        prepared.set_exception(std::current_exception());
        return;
    }
    if (!go_.get_future().get()) return;
    drop_capabilities();
    if (loop_)
        loop_->start(*engine_, cpus_, [this] { engine_->stop(); });
    else
        for (Tag &tag : tags_)
            send_fetch(tag, IO_FETCH_REQ, 0);
    engine_->run();
    // Results that were committed in the loop's last turn.
    io_uring_submit(&engine_->ring());
}

std::byte *DeviceQueue::buffer(const Tag &tag) const {
    return buffers_ + static_cast<size_t>(tag.tag) * facts_.info.max_io_buf_bytes;
}

io_uring_sqe *DeviceQueue::command(Completion &completion, uint32_t code, const Tag &tag, int32_t result,
                                   uint64_t addr) {
    io_uring_sqe *sqe = engine_->prepare(completion);
    io_uring_prep_rw(IORING_OP_URING_CMD, sqe, static_cast<int>(engine_->frontend_file()), nullptr, 0, 0);
    sqe->flags = IOSQE_FIXED_FILE;
    sqe->user_data = reinterpret_cast<uint64_t>(&completion);
    sqe->cmd_op = facts_.ioctl_codes() ? code : _IOC_NR(code);
    io_cmd cmd{};
    cmd.q_id = index_;
    cmd.tag = static_cast<uint16_t>(tag.tag);
    cmd.result = result;
    cmd.addr = addr;
    memcpy(sqe->cmd, &cmd, sizeof(cmd));
    return sqe;
}

void DeviceQueue::send_fetch(Tag &tag, uint32_t code, int32_t result) {
    if (facts_.zero_copy()) {
        io_uring_sqe *sqe = command(tag.fetch, code, tag, result, 0);
        sqe->addr = auto_buf_reg(static_cast<uint16_t>(tag.tag), AUTO_BUF_REG_FALLBACK);
    } else {
        command(tag.fetch, code, tag, result, reinterpret_cast<uint64_t>(buffer(tag)));
    }
}

void DeviceQueue::fetched(Tag &tag, int32_t result) {
    if (result == IO_RES_OK) {
        if (!stopping_) begin(tag);
        return;
    }
    if (result != IO_RES_ABORT) lost("fetching a request", tag, result);
    if (stopping_) return;
    stopping_ = true; // the other tags' aborts follow
    aborted_();
}

// Whatever the program met, the request is carried out here from its beginning: here failures are told apart.
// But what failed to make something durable is not asked again.
void DeviceQueue::passed_on(Tag &tag) {
    const io_desc &desc = descriptors_[tag.tag];
    if (op_of(desc) == IO_OP_FLUSH || desc.op_flags & IO_F_FUA) {
        tag.failed_sync = loop_->failed_sync(tag.tag);
        for (uint64_t failed = tag.failed_sync.leaves; failed != 0; failed &= failed - 1)
            graph_.sync_failed(static_cast<uint32_t>(std::countr_zero(failed)));
    }
    begin(tag);
}

void DeviceQueue::begin(Tag &tag) {
    const io_desc &desc = descriptors_[tag.tag];
    tag.offset = desc.start_sector << US_SECTOR_SHIFT;
    tag.length = static_cast<uint64_t>(desc.nr_sectors) << US_SECTOR_SHIFT;
    tag.flags = 0;
    if (desc.op_flags & IO_F_FUA) tag.flags |= REQUEST_FUA;
    if (desc.op_flags & IO_F_NOUNMAP) tag.flags |= REQUEST_NO_UNMAP;
    tag.error = 0;
    tag.registered = false;
    tag.result = 0;

    bool known = true;
    switch (op_of(desc)) {
    case IO_OP_READ:
        tag.op = US_OP_READ;
        break;
    case IO_OP_WRITE:
        tag.op = US_OP_WRITE;
        break;
    case IO_OP_FLUSH:
        tag.op = US_OP_FLUSH;
        tag.offset = tag.length = 0;
        break;
    case IO_OP_DISCARD:
        tag.op = US_OP_DISCARD;
        break;
    case IO_OP_WRITE_ZEROES:
        tag.op = US_OP_WRITE_ZEROES;
        break;
    default:
        known = false;
    }
    // The driver checks both; the engine relies on it.
    bool inside = tag.offset <= facts_.size_bytes && tag.length <= facts_.size_bytes - tag.offset;
    if (!known || !inside || (facts_.read_only && us_op_writes(tag.op))) {
        tag.result = !known ? -EOPNOTSUPP : !inside ? -EIO : -EROFS;
        commit(tag);
        return;
    }

    bool moves_data = tag.op == US_OP_READ || tag.op == US_OP_WRITE;
    if (!facts_.zero_copy()) {
        tag.buffer = {buffer(tag), -1};
    } else if (moves_data && (loop_ || desc.op_flags & IO_F_NEED_REG_BUF)) {
        // A buffer that was registered by itself is on the loop's ring.
        register_buffer(tag, static_cast<int32_t>(loop_ ? tag.tag : facts_.info.queue_depth + tag.tag));
        return;
    } else {
        tag.buffer = {nullptr, static_cast<int32_t>(tag.tag)};
    }
    submit(tag);
}

void DeviceQueue::register_buffer(Tag &tag, int32_t place) {
    tag.buffer = {nullptr, place};
    tag.registration.fn = [](Completion &step, int32_t result, uint32_t) {
        Tag &self = *static_cast<Tag::Step &>(step).tag;
        if (result < 0) {
            log(Level::warn,
                "cannot register the buffer of a request: " + std::generic_category().message(-result));
            self.result = result;
            self.queue->engine_->forget(self);
            self.queue->commit(self);
        } else {
            self.registered = true;
            self.queue->registered_by_command_.add(1);
            self.queue->submit(self);
        }
    };
    command(tag.registration, IO_REGISTER_IO_BUF, tag, 0, static_cast<uint64_t>(place));
}

void DeviceQueue::submit(Tag &tag) {
    if (!stopping_ || loop_) engine_->submit(tag); // the loop waits for what it has passed on
}

void DeviceQueue::done(Tag &tag) {
    tag.result = result_of(tag, facts_.zero_copy());
    if (!tag.registered) {
        commit(tag);
        return;
    }
    tag.registration.fn = [](Completion &step, int32_t result, uint32_t) {
        Tag &self = *static_cast<Tag::Step &>(step).tag;
        if (result < 0) self.queue->lost("unregistering the buffer of a request", self, result);
        self.queue->commit(self);
    };
    command(tag.registration, IO_UNREGISTER_IO_BUF, tag, 0, static_cast<uint64_t>(tag.buffer.fixed_index));
}

void DeviceQueue::commit(Tag &tag) {
    if (loop_)
        loop_->pass_back(tag.sent, tag.tag, tag.result);
    else
        send_fetch(tag, IO_COMMIT_AND_FETCH_REQ, tag.result);
}

// The queue can no longer promise that every request gets an answer: the next server does it.
void DeviceQueue::lost(const char *what, const Tag &tag, int32_t result) const {
    log(Level::error, std::string(what) + " failed on queue " + std::to_string(index_) + ", tag " +
                          std::to_string(tag.tag) + ": " + std::generic_category().message(-result));
    _exit(1);
}

} // namespace us::ublk
