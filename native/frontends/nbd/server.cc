#include "frontends/nbd/server.h"

#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/log.h"
#include "engine/privileges.h"
#include "frontends/nbd/acceptor.h"
#include "frontends/nbd/sockets.h"
#include "frontends/nbd/worker.h"

namespace us {

using namespace nbd;
using nlohmann::json;

namespace {

constexpr uint32_t max_workers = 4;

std::string text_of(const json &object, const char *key) {
    auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Access read_access(const json &table) {
    Access access;
    auto found = table.find("access");
    if (found == table.end()) return access;
    access.owner = text_of(*found, "owner");
    access.group = text_of(*found, "group");
    std::string mode = text_of(*found, "mode");
    if (mode.empty()) return access;
    size_t used = 0;
    unsigned long bits = 01000;
    if (mode.find_first_not_of("01234567") == std::string::npos && mode.size() <= 4)
        bits = std::stoul(mode, &used, 8);
    if (bits > 0777) throw ConfigError("server-start", "configuration: mode \"" + mode + "\" is not octal");
    access.mode = static_cast<unsigned>(bits);
    return access;
}

// Signals are for the thread that waits for them: threads made under this get none.
class SignalsBlocked {
  public:
    SignalsBlocked() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  private:
    sigset_t before_;
};

std::string stack_of(const json &config) {
    return text_of(config.value("runtime", json::object()), "stack");
}

} // namespace

struct NbdServer::Impl {
    Impl(Graph &graph, const json &config) : service(graph, stack_of(config)) {
        const json runtime = config.value("runtime", json::object());
        unix_path = text_of(runtime, "nbdSocket");
        tcp_address = text_of(runtime, "tcp");
        access = read_access(config.at("table"));
        if (service.exports.empty()) throw ConfigError("server-start", "configuration: there is no export");
        if (unix_path.empty() && tcp_address.empty())
            throw ConfigError("server-start", "configuration: neither nbdSocket nor tcp is given");
    }

    void start_workers();
    void join_workers();

    Service service;
    std::string unix_path, tcp_address;
    Access access;
    std::unique_ptr<UnixSocket> unix_socket;
    std::unique_ptr<TcpSockets> tcp_sockets;
    std::vector<std::unique_ptr<Worker>> workers;
    std::vector<std::thread> threads;
    std::unique_ptr<Acceptor> acceptor;
    std::mutex mutex;     // of `serving`, and held while workers are posted to because of it
    bool serving = false; // the workers may be posted to
};

uint32_t NbdServer::nr_queues() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return std::clamp<uint32_t>(static_cast<uint32_t>(CPU_COUNT(&set)), 1, max_workers);
}

NbdServer::NbdServer(Graph &graph, const json &config) : impl_(std::make_unique<Impl>(graph, config)) {}

NbdServer::~NbdServer() {
    stop();
    impl_->join_workers();
}

void NbdServer::listen() {
    if (!impl_->unix_path.empty())
        impl_->unix_socket = std::make_unique<UnixSocket>(impl_->unix_path, impl_->access);
    if (!impl_->tcp_address.empty()) impl_->tcp_sockets = std::make_unique<TcpSockets>(impl_->tcp_address);
}

// Each on a thread of its own, which also sets up its queue; the first settles the graph. All or none run on.
void NbdServer::Impl::start_workers() {
    // Held by each thread too: one may still be busy telling when this has heard.
    auto opened = std::make_shared<std::vector<std::promise<void>>>(nr_queues());
    for (uint32_t i = 0; i < opened->size(); i++)
        workers.push_back(std::make_unique<Worker>(service, i));
    for (uint32_t i = 0; i < opened->size(); i++) {
        SignalsBlocked blocked;
        threads.emplace_back([this, i, opened] {
            Worker &worker = *workers[i];
            try {
                worker.open();
                if (i == 0) service.graph.make_ready(worker.queue());
            } catch (...) {
                (*opened)[i].set_exception(std::current_exception());
                return;
            }
            (*opened)[i].set_value();
            drop_capabilities();
            worker.run();
        });
    }
    std::exception_ptr failure;
    std::vector<bool> running(opened->size());
    for (size_t i = 0; i < opened->size(); i++) {
        try {
            (*opened)[i].get_future().get();
            running[i] = true;
        } catch (...) {
            if (!failure) failure = std::current_exception();
        }
    }
    if (!failure) return;
    for (size_t i = 0; i < opened->size(); i++)
        if (running[i]) workers[i]->post([worker = workers[i].get()] { worker->stop(); });
    join_workers();
    std::rethrow_exception(failure);
}

void NbdServer::Impl::join_workers() {
    for (std::thread &thread : threads)
        thread.join();
    threads.clear();
    std::lock_guard lock(mutex); // whoever stopped the workers may still be on the way out of stop()
    for (auto &worker : workers)
        worker->close();
}

void NbdServer::start() {
    impl_->start_workers();
    std::vector<int> listening;
    if (impl_->unix_socket) listening.push_back(impl_->unix_socket->fd());
    if (impl_->tcp_sockets)
        listening.insert(listening.end(), impl_->tcp_sockets->fds().begin(), impl_->tcp_sockets->fds().end());
    impl_->acceptor = std::make_unique<Acceptor>(impl_->workers, listening);
    {
        std::lock_guard lock(impl_->mutex);
        impl_->serving = true;
    }
    try {
        if (impl_->unix_socket) impl_->unix_socket->publish();
        if (impl_->tcp_sockets) impl_->tcp_sockets->publish();
    } catch (...) {
        stop();
        impl_->join_workers();
        throw;
    }
    impl_->workers.front()->post([this] {
        impl_->acceptor->start();
        impl_->service.graph.start_background(impl_->workers.front()->queue());
    });
}

void NbdServer::stop() {
    std::lock_guard lock(impl_->mutex);
    if (!impl_->serving) return;
    impl_->serving = false;
    // The acceptor first: it is the only one that posts clients to the workers.
    impl_->workers.front()->post([this] {
        impl_->acceptor->stop();
        for (auto &worker : impl_->workers)
            if (worker != impl_->workers.front()) worker->post([w = worker.get()] { w->stop(); });
        impl_->workers.front()->stop();
    });
}

void NbdServer::join() {
    impl_->join_workers();
    impl_->unix_socket.reset();
    impl_->tcp_sockets.reset();
}

json NbdServer::status() const {
    json exports = json::array();
    for (const ExportInfo &info : impl_->service.exports)
        exports.push_back({{"name", info.name}, {"clients", impl_->service.clients[info.index].load()}});
    uint32_t connections = 0;
    for (const auto &worker : impl_->workers)
        connections += worker->nr_connections();
    return {{"exports", exports}, {"connections", connections}};
}

void serve_nbd_stream(Graph &graph, const json &config, int input, int output) {
    signal(SIGPIPE, SIG_IGN); // a pipe's reader may leave; the write says so
    Service service(graph, stack_of(config));
    Worker worker(service, 0);
    worker.open();
    graph.make_ready(worker.queue());
    graph.start_background(worker.queue());
    worker.expect();
    worker.add(input, output);
    worker.end_with_last_client();
    worker.run();
}

} // namespace us
