#include "server/worker.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <memory>
#include <mutex>
#include <thread>

#include <nlohmann/json.hpp>

#include "engine/log.h"
#include "engine/privileges.h"
#include "frontends/nbd/server.h"
#include "frontends/ublk/device.h"
#include "server/control_socket.h"
#include "server/pid_file.h"
#include "server/ready.h"
#include "server/sandbox.h"
#include "server/service.h"

namespace us {

using nlohmann::json;

namespace {

using Clock = std::chrono::steady_clock;

// A request whose disk hangs must not keep a server from ending for ever: the next one takes over what is
// left.
constexpr std::chrono::seconds STOP_WAIT{30};

json load(const std::string &path) {
    std::ifstream file(path);
    if (!file) throw ConfigError("file-unreadable", "cannot read " + path, {}, path);
    try {
        return json::parse(file);
    } catch (const json::parse_error &error) {
        throw ConfigError("bad-value", path + " is not JSON: " + error.what(), {}, path);
    }
}

std::string text_at(const json &config, const char *group, const char *key) {
    try {
        return config.at(group).at(key).get<std::string>();
    } catch (const json::exception &error) {
        throw ConfigError("bad-value", std::string(group) + "." + key + ": " + error.what());
    }
}

// Resident memory by a descriptor that was opened while /proc could be.
class ResidentMemory {
  public:
    ResidentMemory() : fd_(open("/proc/self/statm", O_RDONLY | O_CLOEXEC)) {}
    ~ResidentMemory() { close(fd_); }
    uint64_t bytes() const {
        char text[128];
        ssize_t n = pread(fd_, text, sizeof(text) - 1, 0);
        unsigned long total = 0, resident = 0;
        if (n > 0) {
            text[n] = '\0';
            if (sscanf(text, "%lu %lu", &total, &resident) != 2) resident = 0;
        }
        return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    }

  private:
    int fd_;
};

// Ends the process when stopping takes too long.
class StopGuard {
  public:
    ~StopGuard() {
        {
            std::lock_guard lock(mutex_);
            done_ = true;
        }
        changed_.notify_all();
        if (thread_.joinable()) thread_.join();
    }
    void begin() {
        thread_ = std::thread([this] {
            std::unique_lock lock(mutex_);
            if (changed_.wait_for(lock, STOP_WAIT, [this] { return done_; })) return;
            log(Level::error, "requests in flight did not end within " + std::to_string(STOP_WAIT.count()) +
                                  " s; leaving them to the next server");
            _exit(EXIT_BROKEN);
        });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool done_ = false;
    std::thread thread_;
};

class DeviceServer {
  public:
    DeviceServer(const json &config, Ready &ready) : config_(config), ready_(ready), graph_(config) {
        service_ = make_service(graph_, config_, [this](const std::string &text) {
            log(Level::info, text);
            ready_.progress(text);
        });
    }

    void serve(Shared &shared, Shelf &shelf);

  private:
    json status() const;
    void stop();

    const json &config_;
    Ready &ready_;
    Graph graph_;
    std::unique_ptr<Service> service_;
    ResidentMemory memory_;
    StopGuard guard_;
    Clock::time_point began_ = Clock::now();
    std::atomic<bool> serving_{false}, stopping_{false};
};

json DeviceServer::status() const {
    json status = graph_.status();
    uint32_t index = 0;
    for (json &queue : status["queues"])
        service_->describe_queue(index++, queue);
    auto id = service_->device_id();
    status["pid"] = getpid();
    status["uptimeMs"] = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began_).count();
    status["device"] = {{"id", id ? json(*id) : json()}};
    status["phase"] = stopping_ ? "stopping" : serving_ ? "ready" : "starting";
    status["exports"] = service_->exports();
    status["rssBytes"] = memory_.bytes();
    return status;
}

void DeviceServer::stop() {
    if (stopping_.exchange(true)) return;
    if (!serving_) _exit(EXIT_STOPPED);
    log(Level::info, "stopping");
    guard_.begin();
    service_->stop();
}

void DeviceServer::serve(Shared &shared, Shelf &shelf) {
    ControlSocket::quick_stop(); // whatever was begun can be recovered
    std::string run_dir = text_at(config_, "runtime", "runDir");
    PidFile pid_file(run_dir, "server.pid");
    service_->prepare(shelf);
    ControlSocket control(
        run_dir,
        {.status = [this] { return status(); },
         .stop = [this] { stop(); },
         .readd = [this](const std::string &layer,
                         const std::string &member) { return graph_.readd(layer, member); },
         .set = [this](const std::string &layer, const json &params) { return graph_.set(layer, params); },
         .snapshot = [this](const std::string &layer,
                            const json &request) { return graph_.snapshots(layer, request); }});
    lock_memory();
    enter_empty_root(run_dir.c_str());
    control.start();
    service_->start();

    serving_ = true;
    control.take_signals();
    drop_capabilities();
    log(Level::info, "serving");
    ready_.ok(service_->device_id());
    report_ready(shared);

    service_->join();
    graph_.close();
    log(Level::info, "stopped");
}

// Runs `body` and turns every exception into a log line, a report and an exit status.
template <typename Body> int guarded(Ready &ready, Body body) {
    auto fail = [&](const std::string &code, const std::string &message, const std::string &layer = {},
                    const std::string &path = {}) {
        log(Level::error, message);
        ready.failed(code, message, layer, path);
        return EXIT_NOT_STARTED;
    };
    try {
        body();
        return EXIT_STOPPED;
    } catch (const ConfigError &error) {
        fail(error.code, error.what(), error.layer, error.path);
        return EXIT_REFUSED;
    } catch (const ublk::StartError &error) {
        return fail(error.code, error.what());
    } catch (const ublk::ControlError &error) {
        return fail("kernel-refused", error.what());
    } catch (const std::exception &error) {
        return fail("server-start", error.what());
    }
}

void identify(const json &config) {
    log_identity(text_at(config, "runtime", "stack"), text_at(config, "table", "name"));
}

} // namespace

int run_worker(const std::string &config_path, int ready_fd, Shared &shared, Shelf &shelf) {
    Ready ready(ready_fd);
    return guarded(ready, [&] {
        json config = load(config_path);
        identify(config);
        DeviceServer(config, ready).serve(shared, shelf);
    });
}

int check_config(const std::string &config_path) {
    try {
        Graph graph(load(config_path));
        return EXIT_STOPPED;
    } catch (const ConfigError &error) {
        fprintf(stderr, "%s: %s%s%s\n", error.code.c_str(), error.layer.c_str(),
                error.layer.empty() ? "" : ": ", error.what());
        return EXIT_REFUSED;
    }
}

int run_nbd_stdio(const std::string &config_path) {
    Ready nobody(-1);
    return guarded(nobody, [&] {
        json config = load(config_path);
        identify(config);
        Graph graph(config);
        graph.open(1, NbdServer::queue_depth);
        serve_nbd_stream(graph, config, STDIN_FILENO, STDOUT_FILENO);
        graph.close();
    });
}

} // namespace us
