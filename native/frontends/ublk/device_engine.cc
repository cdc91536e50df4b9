// Who serves a device: the kernel's io_uring loop, or the native engine, and why.
#include <unistd.h>

#include <iterator>

#include "engine/log.h"
#include "engine/scheduling.h"
#include "frontends/ublk/device.h"
#include "frontends/ublk/load_loops.h"

namespace us::ublk {

namespace {

// Names of enum us_loop_reason.
constexpr const char *REASONS[] = {"operation", "layer", "failure", "buffer", "size", "flush"};

} // namespace

void Device::read_engine(const nlohmann::json &settings) {
    std::string engine = settings.value("engine", "auto"), poll = settings.value("poll", "auto");
    if (engine != "auto" && engine != "native" && engine != "uring-bpf")
        throw ConfigError("bad-value",
                          "ublk.engine is not auto, native or uring-bpf, but \"" + engine + "\"");
    if (poll != "off" && poll != "on" && poll != "auto")
        throw ConfigError("bad-value", "ublk.poll is not off, on or auto, but \"" + poll + "\"");
    engine_.native_only = engine == "native";
    engine_.kernel_only = engine == "uring-bpf";
    // With one CPU a spinning loop would keep the very task from running that it waits for.
    bool alone = sysconf(_SC_NPROCESSORS_ONLN) < 2;
    engine_.polling = poll == "off" || alone ? Polling::off : poll == "on" ? Polling::on : Polling::adaptive;
}

// Why the kernel could not serve this device, whatever its program; empty when it may.
std::string Device::missing_for_kernel() const {
    if (!facts_.zero_copy())
        return graph_.prefers_zero_copy()
                   ? "the driver lacks UBLK_F_AUTO_BUF_REG"
                   : "data is copied: a layer is in memory or uses the page cache (direct: off)";
    if (!(facts_.info.flags & F_BUF_REG_OFF_DAEMON)) return "the driver lacks UBLK_F_BUF_REG_OFF_DAEMON";
    return {};
}

void Device::choose_engine(Shelf &shelf) {
    if (engine_.native_only) {
        engine_.reason = "the file says so (engine: native)";
        return;
    }
    std::string reason = missing_for_kernel(), log;
    try {
        if (reason.empty()) {
            std::vector<KernelLoop *> loops;
            for (auto &queue : queues_)
                loops.push_back(&queue->put_into_kernel(engine_.polling));
            load_loops(loops, shelf);
        }
    } catch (const ProgramRefused &refused) {
        reason = refused.what();
        log = refused.log;
    } catch (const std::system_error &error) {
        reason = error.what();
    }
    if (!reason.empty()) return refuse_kernel(reason, log);
    engine_.in_kernel = true;
    engine_.reason = "requests are carried out in the kernel's io_uring loop";
}

void Device::refuse_kernel(const std::string &reason, const std::string &verifier) {
    if (engine_.kernel_only) throw StartError("engine-refused", "engine uring-bpf cannot serve: " + reason);
    engine_.reason = reason;
    for (auto &queue : queues_)
        queue->take_out_of_kernel();
    // Only a refusal by the verifier is news: the rest is how this machine is, and `status` says it.
    if (verifier.empty()) return;
    log(Level::warn, "served by the native engine: " + reason);
}

void Device::describe_queue(uint32_t index, nlohmann::json &status) const {
    status["engine"] = engine_.in_kernel ? "uring-bpf" : "native";
    status["reason"] = engine_.reason;
    status["copyMode"] = copy_mode();
    const KernelLoop *loop = queues_[index]->loop();
    if (!loop) {
        status["kernel"] = nullptr;
        return;
    }
    const us_loop_counters &c = loop->counters();
    nlohmann::json redirected;
    for (size_t i = 0; i < std::size(REASONS); i++)
        redirected[REASONS[i]] = US_READ_ONCE(c.passed[i]);
    bpf::Runs runs = loop->runs();
    status["kernel"] = {{"requests", US_READ_ONCE(c.handled)},
                        {"redirected", redirected},
                        {"enters", loop->enters()},
                        {"steps", US_READ_ONCE(c.steps)},
                        {"polls", US_READ_ONCE(c.spins)},
                        {"programNs", runs.times ? nlohmann::json(runs.nanoseconds) : nlohmann::json()}};
    status["requests"] = status["requests"].get<uint64_t>() + US_READ_ONCE(c.handled);
    status["bytes"] = status["bytes"].get<uint64_t>() + US_READ_ONCE(c.bytes);
    status["enters"] = status["enters"].get<uint64_t>() + loop->enters();
    status["scheduling"] = scheduling_name(US_READ_ONCE(c.crowd.crowded));
    // What is at the executor is in flight for both.
    uint64_t ended = US_READ_ONCE(c.ended); // read first, so that it is not the larger one
    status["inFlight"] = US_READ_ONCE(c.begun) - ended;
}

} // namespace us::ublk
