// The NBD frontend: all NBD exports of one stack, on one unix socket and, when asked for, on one TCP address.
//
//   main:  graph.open(NbdServer::nr_queues(), NbdServer::queue_depth)
//          server.listen()      sockets bound under their final owner and mode; nobody can connect yet
//          (sandbox)            no path is needed from here on
//          server.start()       workers up, graph settled, socket published, clients are served
//          server.stop()        from any thread; server.join() returns once every client has been let go
//          graph.close()
#pragma once

#include <cstdint>
#include <memory>

#include <nlohmann/json.hpp>

#include "engine/graph.h"

namespace us {

class NbdServer {
  public:
    // Client requests in flight in one worker, for Graph::open().
    static constexpr uint32_t queue_depth = 256;

    // Workers, each with a queue of its own: one per CPU that this process may use, at most 4. For
    // Graph::open().
    static uint32_t nr_queues();

    // Reads table.exports, table.nbd and table.access, runtime.nbdSocket and runtime.tcp of config.json.
    // Pure. Throws ConfigError.
    NbdServer(Graph &graph, const nlohmann::json &config);
    ~NbdServer();
    NbdServer(const NbdServer &) = delete;
    NbdServer &operator=(const NbdServer &) = delete;

    // Creates and binds the sockets, with owner and mode set before anybody can connect. Refuses a path that
    // is not a socket, or one that another server listens on. Throws ConfigError or std::system_error.
    void listen();

    // Starts the workers, settles the graph on queue 0, publishes the socket under its name (replacing a
    // stale one in one step), begins to accept and starts the graph's background work. Returns when clients
    // are served. Throws what Queue and Graph::settle throw; then nothing runs any more.
    void start();

    // Any thread, also more than once: no new clients and no new requests; what is in flight is finished and
    // answered, within a bounded time for clients that do not read, and then the connections are closed.
    void stop();

    // Blocks until stop() has been called and all of that is done. The socket's file is gone afterwards.
    void join();

    // {"exports":[{"name":string,"clients":n}],"connections":n}. Any thread, from construction on.
    nlohmann::json status() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Serves one client on two open descriptors (a socket, a pipe, a file) on the calling thread, until the
// client has gone and everything it asked for has ended. The graph must be open with 1 queue of
// NbdServer::queue_depth. For `ublk-stack-server --nbd-stdio` (descriptors 0 and 1) and for fuzzing. Throws
// as start() does.
void serve_nbd_stream(Graph &graph, const nlohmann::json &config, int input, int output);

} // namespace us
