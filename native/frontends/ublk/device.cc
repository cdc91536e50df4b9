#include "frontends/ublk/device.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <thread>

#include "engine/log.h"
#include "frontends/ublk/params.h"

namespace us::ublk {

namespace {

using Clock = std::chrono::steady_clock;
using Millis = Control::Millis;

constexpr Millis PREDECESSOR_WAIT{30'000}; // its last requests may hang on a slow disk
constexpr Millis LIVE_WAIT{30'000}; // START_DEV: all tags fetched; before 7.x also the partition table read
constexpr Millis NODE_WAIT{5'000};  // devtmpfs is immediate, udev is not
constexpr Millis LOUD_AFTER{500};   // shorter waits are not worth a word
constexpr uint32_t COPY_IO_BYTES = 512 << 10; // what one tag's buffer costs, once it has been used
constexpr uint32_t ZERO_COPY_IO_BYTES = 1 << 20;

// Asks again and again, at first every millisecond, until `done` says so. False when the time is over.
template <typename Done> bool poll_until(Millis timeout, const std::function<void()> &loud, Done done) {
    auto begin = Clock::now();
    bool told = false;
    for (Millis pause{1}; !done(); pause = std::min(pause * 2, Millis(20))) {
        auto waited = Clock::now() - begin;
        if (waited > timeout) return false;
        if (waited > LOUD_AFTER && !told) {
            loud();
            told = true;
        }
        std::this_thread::sleep_for(pause);
    }
    return true;
}

uint64_t parse_tag(const std::string &text) {
    uint64_t tag = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), tag, 16);
    if (error != std::errc() || end != text.data() + text.size() || text.size() != 16)
        throw ConfigError("bad-value", "runtime.tag has to be 16 hexadecimal digits, not \"" + text + "\"");
    return tag;
}

uint32_t configured_cpus() {
    return static_cast<uint32_t>(std::max(1l, sysconf(_SC_NPROCESSORS_CONF)));
}

std::string char_path(uint32_t id) {
    return "/dev/ublkc" + std::to_string(id);
}

} // namespace

Device::Device(Graph &graph, const nlohmann::json &config, Progress progress)
    : graph_(graph), progress_(std::move(progress)) {
    try {
        const nlohmann::json &table = config.at("table"), &runtime = config.at("runtime");
        const nlohmann::json &settings = table.at("ublk");
        run_dir_ = runtime.at("runDir").get<std::string>();
        owner_tag_ = parse_tag(runtime.at("tag").get<std::string>());
        auto queues = settings.at("queues").get<uint32_t>(), depth = settings.at("depth").get<uint32_t>();
        auto id = settings.at("id").get<int64_t>();
        if (queues < 1 || queues > MAX_NR_QUEUES || depth < 1 || depth > MAX_QUEUE_DEPTH)
            throw ConfigError("out-of-range", "ublk.queues and ublk.depth have to be from 1 to 4096");
        if (id < -1 || id >= NO_DEVICE)
            throw ConfigError("out-of-range", "ublk.id is not the number of a device");
        wanted_id_ = static_cast<uint32_t>(id); // -1 is NO_DEVICE
        facts_.info.nr_hw_queues = static_cast<uint16_t>(std::min(queues, configured_cpus()));
        facts_.info.queue_depth = static_cast<uint16_t>(depth);
        read_engine(settings);
    } catch (const nlohmann::json::exception &error) {
        throw ConfigError("bad-value", std::string("config of a ublk device: ") + error.what());
    }
    if (graph_.exports().size() != 1) throw ConfigError("bad-value", "a ublk device has exactly one export");
    const Export &exported = graph_.exports().front();
    // A device that only another server of the stack opens: a scan would hold it against that server's claim.
    part_scan_ = !exported.name.empty();
    facts_.root = exported.root;
    facts_.size_bytes = graph_.size(exported.root);
    facts_.read_only = exported.read_only;
}

Device::~Device() {
    if (!queues_.empty()) queues_.clear();
    if (facts_.char_fd >= 0) ::close(facts_.char_fd);
    if (added_) remove_quietly();
}

std::optional<uint32_t> Device::remembered_id() const {
    std::ifstream file(run_dir_ + "/device.json");
    nlohmann::json json = nlohmann::json::parse(file, nullptr, false);
    if (!json.is_object() || !json.contains("id") || !json["id"].is_number_unsigned()) return std::nullopt;
    return json["id"].get<uint32_t>();
}

void Device::remember_id() const {
    std::string path = run_dir_ + "/device.json", fresh = path + ".new";
    std::ofstream file(fresh);
    file << nlohmann::json{{"id", id()}}.dump() << '\n';
    file.close();
    if (!file || rename(fresh.c_str(), path.c_str()) != 0)
        throw StartError("io-error", "cannot write " + path + ": " + std::generic_category().message(errno));
}

// The file is a hint: only the tag, which the driver keeps, says whose a device is. A server that died
// between ADD_DEV and writing the file is found by looking at all devices.
std::optional<dev_info> Device::find_predecessor() {
    auto ours = [this](uint32_t id) -> std::optional<dev_info> {
        std::optional<dev_info> info = control_.info(id);
        return info && info->ublksrv_flags == owner_tag_ ? info : std::nullopt;
    };
    if (std::optional<uint32_t> id = remembered_id())
        if (std::optional<dev_info> info = ours(*id)) return info;
    for (uint32_t id : list_devices())
        if (std::optional<dev_info> info = ours(id)) return info;
    return std::nullopt;
}

void Device::await_quiesced(dev_info &info) {
    std::string who = "the old server of ublk device " + std::to_string(info.dev_id) + " (pid " +
                      std::to_string(info.ublksrv_pid) + ")";
    bool gone = poll_until(
        PREDECESSOR_WAIT, [&] { progress_("waiting for " + who + " to let go of it"); },
        [&] {
            std::optional<dev_info> now = control_.info(info.dev_id);
            if (!now)
                throw StartError("device-in-use",
                                 "ublk device " + std::to_string(info.dev_id) + " was deleted");
            info = *now;
            return info.state != S_DEV_LIVE;
        });
    if (!gone) throw StartError("device-in-use", who + " still serves it");
}

void Device::observe() {
    std::optional<dev_info> found = find_predecessor();
    if (!found) return;
    if (found->state == S_DEV_LIVE) await_quiesced(*found);
    if (found->state == S_DEV_DEAD) {
        // Added but never started, or stopped: nobody can have it open.
        progress_("removing ublk device " + std::to_string(found->dev_id) + ", which never went live");
        control_.remove(found->dev_id, PREDECESSOR_WAIT);
        return;
    }
    recovering_ = true;
    facts_.info = *found;
    if (wanted_id_ != NO_DEVICE && wanted_id_ != found->dev_id)
        log(Level::warn, "the running device has number " + std::to_string(found->dev_id) +
                             " and keeps it, though " + std::to_string(wanted_id_) + " is asked for");
    uint64_t bytes = control_.get_params(found->dev_id).basic.dev_sectors << 9;
    if (bytes > facts_.size_bytes)
        throw ConfigError("size-differs", "the running device has " + std::to_string(bytes) +
                                              " bytes, more than the " + std::to_string(facts_.size_bytes) +
                                              " of its layer: it cannot shrink");
}

uint64_t Device::wanted_flags() const {
    uint64_t flags = F_USER_RECOVERY | F_USER_RECOVERY_REISSUE;
    std::optional<uint64_t> known = control_.features();
    if (!known) return flags;
    flags |= *known & (F_CMD_IOCTL_ENCODE | F_UPDATE_SIZE | F_QUIESCE);
    if (!part_scan_) flags |= *known & F_NO_AUTO_PART_SCAN;
    constexpr uint64_t zero_copy = F_SUPPORT_ZERO_COPY | F_AUTO_BUF_REG;
    bool wanted = graph_.prefers_zero_copy() || engine_.kernel_only;
    if ((*known & zero_copy) == zero_copy && wanted) flags |= zero_copy;
    return flags;
}

void Device::add() {
    dev_info wanted{};
    wanted.nr_hw_queues = facts_.info.nr_hw_queues;
    wanted.queue_depth = facts_.info.queue_depth;
    wanted.dev_id = wanted_id_;
    wanted.flags = wanted_flags();
    wanted.max_io_buf_bytes = wanted.flags & F_AUTO_BUF_REG ? ZERO_COPY_IO_BYTES : COPY_IO_BYTES;
    wanted.ublksrv_pid = getpid();
    wanted.ublksrv_flags = owner_tag_;
    try {
        facts_.info = control_.add(wanted);
    } catch (const ControlError &error) {
        if (error.code().value() != EEXIST) throw;
        throw StartError("device-in-use",
                         "ublk device " + std::to_string(wanted_id_) + " exists and is not ours");
    }
    added_ = true;
    remember_id();
    Limits limits{.size_bytes = facts_.size_bytes,
                  .max_io_bytes = facts_.info.max_io_buf_bytes,
                  .read_only = facts_.read_only,
                  .zero_copy = facts_.zero_copy()};
    Geometry geometry = graph_.geometry(facts_.root);
    // A flush is what the block layer makes of it then.
    if (graph_.durable_by_flush(facts_.root)) geometry.fua = false;
    control_.set_params(id(), device_params(geometry, limits));
}

void Device::acquire(Shelf &shelf) {
    if (recovering_) {
        bool free = poll_until(
            PREDECESSOR_WAIT,
            [&] {
                progress_("waiting for the last requests of the old server of ublk device " +
                          std::to_string(id()));
            },
            [&] { return control_.try_start_recovery(id()); });
        if (!free)
            throw StartError("device-in-use", "the old server of ublk device " + std::to_string(id()) +
                                                  " does not let go of it");
        remember_id();
    } else {
        add();
    }
    open_char_device();
    auto aborted = [this] {
        if (!stopping_ && !taken_back_.exchange(true)) log(Level::info, "the driver takes the device back");
        stop();
    };
    for (uint16_t i = 0; i < facts_.info.nr_hw_queues; i++)
        queues_.push_back(
            std::make_unique<DeviceQueue>(graph_, facts_, i, control_.affinity(id(), i), aborted));
    choose_engine(shelf);
}

void Device::open_char_device() {
    std::string path = char_path(id());
    int error = 0;
    bool open = poll_until(
        NODE_WAIT, [&] { progress_("waiting for " + path + " to appear"); },
        [&] {
            facts_.char_fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
            error = errno;
            if (facts_.char_fd < 0 && error != ENOENT && error != EBUSY && error != ENXIO)
                throw StartError("permission-denied",
                                 "cannot open " + path + ": " + std::generic_category().message(error));
            return facts_.char_fd >= 0;
        });
    if (!open)
        throw StartError("device-in-use",
                         "cannot open " + path + ": " + std::generic_category().message(error));
    params now = control_.get_params(id());
    struct stat st {};
    bool known = fstat(facts_.char_fd, &st) == 0 && S_ISCHR(st.st_mode);
    if (known && now.types & PARAM_TYPE_DEVT)
        known = st.st_rdev == makedev(now.devt.char_major, now.devt.char_minor);
    if (!known)
        throw StartError("device-in-use", path + " is not the node of ublk device " + std::to_string(id()));
}

void Device::start() {
    std::vector<std::future<void>> ready;
    for (auto &queue : queues_)
        ready.push_back(queue->prepare());
    for (std::future<void> &queue : ready)
        queue.get();
    for (auto &queue : queues_)
        queue->serve();

    if (recovering_)
        control_.end_recovery(id(), getpid(), LIVE_WAIT);
    else
        control_.start(id(), getpid(), LIVE_WAIT);
    added_ = false;
    if (recovering_) resize();
    Queue &first = queues_.front()->engine();
    first.post([this, &first] { graph_.start_background(first); });
}

void Device::resize() {
    uint64_t bytes = control_.get_params(id()).basic.dev_sectors << 9;
    if (bytes == facts_.size_bytes) return;
    if (!(facts_.info.flags & F_UPDATE_SIZE)) {
        log(Level::warn, "this kernel cannot change the size of a running device: it stays at " +
                             std::to_string(bytes) + " bytes");
        return;
    }
    control_.update_size(id(), facts_.size_bytes);
    log(Level::info, "the device grew from " + std::to_string(bytes) + " to " +
                         std::to_string(facts_.size_bytes) + " bytes");
}

void Device::stop() {
    if (stopping_.exchange(true)) return;
    for (auto &queue : queues_)
        queue->stop();
}

void Device::join() {
    for (auto &queue : queues_)
        queue->join();
}

void Device::remove_quietly() {
    try {
        control_.remove(id(), Control::QUICK);
    } catch (const ControlError &error) {
        log(Level::error, std::string("a device that never went live stays behind: ") + error.what());
    }
}

} // namespace us::ublk
