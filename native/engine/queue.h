// One queue: one thread, one ring. Whatever is called here is called on that thread, unless said otherwise.
#pragma once

#include <liburing.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "engine/completion.h"
#include "engine/request.h"

namespace us {

class Graph;
struct QueueCounters;

struct QueueOptions {
    uint32_t index = 0;         // 0-based, below Graph's number of queues
    uint32_t depth = 128;       // client requests in flight at most; tags are below it
    uint32_t ring_entries = 0;  // submission entries; 0: derived from depth
    uint32_t fixed_buffers = 0; // sparse registered-buffer table for zero copy, 0 for none
};

class Queue {
  public:
    // Sets up the ring and all pools. Throws std::system_error.
    Queue(Graph &graph, const QueueOptions &options);
    ~Queue();
    Queue(const Queue &) = delete;
    Queue &operator=(const Queue &) = delete;

    // Serves until stop() and until nothing is in flight. Set up with IORING_SETUP_SINGLE_ISSUER |
    // DEFER_TASKRUN where the kernel has them (6.1), so construct the Queue on the thread that runs it.
    void run();

    // Any thread. The loop ends once every request in flight has ended.
    void stop();

    // Any thread: runs `fn` on the queue thread.
    void post(std::function<void()> fn);

    // Starts a client request. request.done() may run before submit() returns.
    void submit(Request &request);
    // One that the program in the kernel has passed on, and that is answered without being submitted.
    void forget(const Request &request);

    // An entry of this queue's ring for a frontend's own operation; completion.fn runs with its CQE. Flushes
    // the submission queue first when it is full, so it never fails. Entries go to the kernel at the next
    // turn of the loop, all in one system call. Registered files: the leaves', then 16 free places for the
    // frontend, from frontend_file() on (io_uring_register_files_update).
    io_uring_sqe *prepare(Completion &completion);

    uint32_t frontend_file() const;

    io_uring &ring();
    Graph &graph();
    uint32_t index() const;
    QueueCounters &counters();

    struct Impl;
    Impl &impl() { return *impl_; }

  private:
    std::unique_ptr<Impl> impl_;
};

} // namespace us
