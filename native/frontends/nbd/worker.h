// One worker: one thread, one queue, and the connections that were dealt to it. All but the constructor,
// post() and nr_connections() on the worker's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/queue.h"
#include "frontends/nbd/buffers.h"
#include "frontends/nbd/exports.h"
#include "frontends/nbd/offload.h"

namespace us::nbd {

class Connection;
class Transmission;

// Shared by all workers, read-only but for the counters.
struct Service {
    Graph &graph;
    std::vector<ExportInfo> exports;
    std::vector<std::atomic<uint32_t>> clients; // by export, in transmission
    Service(Graph &graph, const std::string &stack)
        : graph(graph), exports(describe_exports(graph, stack)), clients(exports.size()) {}
};

class Worker {
  public:
    Worker(Service &service, uint32_t index);
    ~Worker();
    Worker(const Worker &) = delete;
    Worker &operator=(const Worker &) = delete;

    // Sets up the queue on the calling thread, which is to be the one that runs it.
    void open();
    // Serves until stop() and until the last connection has been let go.
    void run();
    // Lets go of the queue, after run(), on the thread that joined the worker's: whoever posted the last
    // function to it is certainly done with it then.
    void close();

    // Any thread, between open() and the end of run().
    void post(std::function<void()> fn) { queue_->post(std::move(fn)); }

    // Announces a connection that will be added, so that the next one is dealt elsewhere. Any thread.
    void expect() { nr_connections_.fetch_add(1, std::memory_order_relaxed); }
    // Takes the descriptors over; they may be one and the same.
    void add(int input, int output);
    // Lets go of every client and then ends run().
    void stop();
    // Ends run() once no client is left.
    void end_with_last_client();

    Queue &queue() { return *queue_; }
    Service &service() { return service_; }
    BufferPool &buffers() { return buffers_; }
    // Any thread.
    uint32_t nr_connections() const { return nr_connections_.load(std::memory_order_relaxed); }

    // A free tag, or -1: then `waiter` is told as soon as there is one.
    int32_t take_tag(Transmission &waiter);
    void give_tag(uint32_t tag);
    void forget_waiter(Transmission &waiter);

    // Runs `work` where it may block, then `done` on this thread.
    void offload(std::function<void()> work, std::function<void()> done);

    // A client that breaks the rules; many of them do not fill the log.
    void complain(std::string_view what);

    // Called by a connection that is over; it is destroyed later, when none of its functions is running.
    void retire(Connection &connection);

    // Runs `fn` on the next tick, at most a second from now. For what is not urgent (accepting again).
    void at_tick(std::function<void()> fn);
    // Makes ticks come while any connection has a deadline.
    void want_ticks();

  private:
    struct Tick;
    void tick();
    void end_if_empty();

    Service &service_;
    uint32_t index_;
    std::unique_ptr<Queue> queue_;
    BufferPool buffers_;
    std::vector<uint32_t> free_tags_;
    Transmission *waiting_first_ = nullptr, *waiting_last_ = nullptr;
    bool waking_ = false;
    std::vector<std::unique_ptr<Connection>> connections_;
    std::atomic<uint32_t> nr_connections_{0};
    std::unique_ptr<Tick> tick_;
    std::vector<std::function<void()>> at_tick_;
    bool stopping_ = false;
    bool ending_ = false; // with the last client
    int64_t complained_at_ms_ = INT64_MIN / 2;
    uint64_t complaints_held_back_ = 0;
    std::unique_ptr<Offload> offload_;
};

// Milliseconds of the clock that deadlines are measured with.
int64_t now_ms();

} // namespace us::nbd
