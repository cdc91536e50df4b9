#include "frontends/ublk/control.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

namespace us::ublk {

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char *CONTROL_PATH = "/dev/ublk-control";
constexpr Control::Millis CANCEL_WAIT{1'000};

// What a command may read or write while it runs: room for the longest buffer of any command.
struct CommandMemory {
    alignas(8) std::byte bytes[256];
};
static_assert(sizeof(params) <= sizeof(CommandMemory) && sizeof(cpu_set_t) <= sizeof(CommandMemory));

__kernel_timespec timespec_of(Control::Millis time) {
    return {.tv_sec = time.count() / 1000, .tv_nsec = (time.count() % 1000) * 1'000'000};
}

template <typename T> std::span<std::byte> bytes_of(T &value) {
    return std::as_writable_bytes(std::span(&value, 1));
}

} // namespace

Control::Control() {
    fd_ = ::open(CONTROL_PATH, O_RDWR | O_CLOEXEC);
    if (fd_ < 0) throw ControlError("open", errno, std::string("cannot open ") + CONTROL_PATH);
    int error = io_uring_queue_init(4, &ring_, IORING_SETUP_SQE128);
    if (error < 0) {
        ::close(fd_);
        throw ControlError("open", -error, "cannot set up an io_uring for ublk's control commands");
    }
    uint64_t features = 0;
    Command command{.name = "GET_FEATURES", .code = GET_FEATURES, .buffer = bytes_of(features)};
    int result = run(command);
    if (result >= 0)
        features_ = features;
    else
        ioctl_codes_ = false; // Linux 6.1 to 6.4, which all take the bare numbers
}

Control::~Control() {
    io_uring_queue_exit(&ring_);
    ::close(fd_);
}

io_uring_sqe *Control::next_sqe() {
    io_uring_sqe *sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) return nullptr;
    memset(static_cast<void *>(sqe), 0, 2 * sizeof(*sqe)); // a 128-byte ring
    sqe->user_data = ++serial_;
    return sqe;
}

int Control::wait(uint64_t serial, Millis timeout) {
    auto deadline = Clock::now() + timeout;
    for (;;) {
        auto left = std::chrono::duration_cast<Millis>(deadline - Clock::now());
        __kernel_timespec limit = timespec_of(std::max(left, Millis(0)));
        io_uring_cqe *cqe = nullptr;
        int error = io_uring_wait_cqe_timeout(&ring_, &cqe, &limit);
        if (error == -EINTR) continue;
        if (error < 0) return error;
        bool ours = cqe->user_data == serial;
        int result = cqe->res;
        io_uring_cqe_seen(&ring_, cqe);
        // Others are late answers of commands given up before, and of their cancellations.
        if (ours) return result;
    }
}

int Control::run(const Command &wanted) {
    auto memory = std::make_unique<CommandMemory>();
    ctrl_cmd command{};
    command.dev_id = wanted.id;
    command.queue_id = wanted.queue;
    command.data = wanted.data;
    if (!wanted.buffer.empty()) {
        memcpy(memory->bytes, wanted.buffer.data(), wanted.buffer.size());
        command.addr = reinterpret_cast<uint64_t>(memory->bytes);
        command.len = static_cast<uint16_t>(wanted.buffer.size());
    }

    io_uring_sqe *sqe = next_sqe();
    if (sqe == nullptr) return -EBUSY;
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = fd_;
    sqe->cmd_op = ioctl_codes_ ? wanted.code : _IOC_NR(wanted.code);
    memcpy(sqe->cmd, &command, sizeof(command));
    uint64_t serial = sqe->user_data;
    int submitted = io_uring_submit(&ring_);
    if (submitted < 0) return submitted;

    int result = wait(serial, wanted.timeout);
    if (result == -ETIME) {
        if (io_uring_sqe *cancel = next_sqe()) {
            cancel->opcode = IORING_OP_ASYNC_CANCEL;
            cancel->fd = -1;
            cancel->addr = serial;
            io_uring_submit(&ring_);
        }
        // It may have been done at the last moment; cancelled or interrupted means that it was not.
        result = wait(serial, CANCEL_WAIT);
        if (result == -ETIME) static_cast<void>(memory.release()); // the driver still holds its address
        if (result == -ECANCELED || result == -EINTR) result = -ETIME;
    }
    if (result >= 0 && !wanted.buffer.empty())
        memcpy(wanted.buffer.data(), memory->bytes, wanted.buffer.size());
    return result;
}

void Control::must(const Command &wanted) {
    int result = run(wanted);
    if (result < 0) fail(wanted, -result);
}

void Control::fail(const Command &wanted, int error) {
    std::string what = std::string("ublk ") + wanted.name;
    if (wanted.id != NO_DEVICE) what += " of device " + std::to_string(wanted.id);
    if (error == ETIME) what += " did not end within " + std::to_string(wanted.timeout.count()) + " ms";
    throw ControlError(wanted.name, error, what);
}

dev_info Control::add(const dev_info &wanted) {
    dev_info info = wanted;
    must({.name = "ADD_DEV", .code = ADD_DEV, .id = wanted.dev_id, .buffer = bytes_of(info)});
    return info;
}

std::optional<dev_info> Control::info(uint32_t id) {
    dev_info info{};
    Command command{.name = "GET_DEV_INFO", .code = GET_DEV_INFO, .id = id, .buffer = bytes_of(info)};
    int result = run(command);
    if (result == -ENODEV) return std::nullopt;
    if (result < 0) fail(command, -result);
    return info;
}

void Control::set_params(uint32_t id, const params &values) {
    params copy = values;
    copy.len = sizeof(copy);
    must({.name = "SET_PARAMS", .code = SET_PARAMS, .id = id, .buffer = bytes_of(copy)});
}

params Control::get_params(uint32_t id) {
    params values{};
    values.len = sizeof(values);
    must({.name = "GET_PARAMS", .code = GET_PARAMS, .id = id, .buffer = bytes_of(values)});
    return values;
}

cpu_set_t Control::affinity(uint32_t id, uint16_t queue) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    must({.name = "GET_QUEUE_AFFINITY",
          .code = GET_QUEUE_AFFINITY,
          .id = id,
          .queue = queue,
          .data = queue,
          .buffer = bytes_of(cpus)});
    return cpus;
}

void Control::start(uint32_t id, int pid, Millis timeout) {
    auto data = static_cast<uint64_t>(pid);
    must({.name = "START_DEV", .code = START_DEV, .id = id, .data = data, .timeout = timeout});
}

// Told apart from other refusals: a server that goes away between START_USER_RECOVERY and its first FETCH
// leaves a device that Linux 6.12 does not let start again, and that needs no start either.
bool Control::is_quiesced(uint32_t id) {
    std::optional<dev_info> device = info(id);
    return device && device->state == S_DEV_QUIESCED;
}

bool Control::try_start_recovery(uint32_t id) {
    Command command{.name = "START_USER_RECOVERY", .code = START_USER_RECOVERY, .id = id};
    int result = run(command);
    if (result == -EBUSY) return false;
    if (result == -EINVAL && is_quiesced(id)) return true;
    if (result < 0) fail(command, -result);
    return true;
}

void Control::end_recovery(uint32_t id, int pid, Millis timeout) {
    auto data = static_cast<uint64_t>(pid);
    must(
        {.name = "END_USER_RECOVERY", .code = END_USER_RECOVERY, .id = id, .data = data, .timeout = timeout});
}

void Control::stop(uint32_t id, Millis timeout) {
    must({.name = "STOP_DEV", .code = STOP_DEV, .id = id, .timeout = timeout});
}

void Control::try_stop(uint32_t id, Millis timeout) {
    must({.name = "TRY_STOP_DEV", .code = TRY_STOP_DEV, .id = id, .timeout = timeout});
}

void Control::remove(uint32_t id, Millis timeout) {
    must({.name = "DEL_DEV", .code = DEL_DEV, .id = id, .timeout = timeout});
}

void Control::update_size(uint32_t id, uint64_t bytes) {
    must({.name = "UPDATE_SIZE", .code = UPDATE_SIZE, .id = id, .data = bytes >> 9});
}

void Control::quiesce(uint32_t id, Millis timeout) {
    // The driver's own limit, so that it gives up before we do.
    auto data = static_cast<uint64_t>(timeout.count());
    must({.name = "QUIESCE_DEV", .code = QUIESCE_DEV, .id = id, .data = data, .timeout = timeout + QUICK});
}

std::vector<uint32_t> list_devices() {
    constexpr std::string_view prefix = "ublkc";
    std::vector<uint32_t> ids;
    DIR *dir = opendir("/sys/class/ublk-char");
    if (dir == nullptr) return ids; // no driver
    while (dirent *entry = readdir(dir)) {
        std::string_view name(entry->d_name);
        if (!name.starts_with(prefix)) continue;
        uint32_t id = 0;
        const char *end = name.data() + name.size();
        auto parsed = std::from_chars(name.data() + prefix.size(), end, id);
        if (parsed.ec == std::errc() && parsed.ptr == end) ids.push_back(id);
    }
    closedir(dir);
    std::sort(ids.begin(), ids.end());
    return ids;
}

} // namespace us::ublk
