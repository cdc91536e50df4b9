// The inside of a queue, for the engine's own files.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <mutex>
#include <vector>

#include "core/crowd.h"
#include "engine/counters.h"
#include "engine/leaf_op.h"
#include "engine/queue.h"
#include "engine/queue_executor.h"

namespace us {

// A leaf's part of a client request on the fast path.
struct Piece : LeafOp {
    Request *request = nullptr;
    uint64_t buffer = 0; // offset into the request's buffer
    Piece *next_free = nullptr;
};

struct Queue::Impl {
    Impl(Queue &owner, Graph &graph, const QueueOptions &options);
    ~Impl();

    // ---- ring.cc: the ring and its loop
    void set_up_ring();
    void register_resources();
    void turn(); // submits, waits for at least one completion, and runs all that have come
    void note_crowd(uint64_t before); // how many were in flight when the turn began
    void arm_wake();                  // listens to wake()
    void run_posted();
    void wake(); // under posted_mutex
    bool has_ended();
    int file_index(uint32_t layer) const { return file_index_[layer]; }
    void run_until(const std::function<bool()> &done);

    // ---- queue.cc: requests on the fast path
    void submit(Request &request);
    void walk(Request &request);
    bool place(Request &request, const us_piece &piece); // false: no piece was free
    void piece_ended(Request &request, const LeafOp &op, uint64_t buffer, int32_t error);
    void settle_request(Request &request);
    void resume_waiting();
    void finish(Request &request);
    void report(Request &request);
    Task<void> carefully(Request &request);
    bool tracked(const Request &request) const; // has an in-flight slot
    bool needs_flush(const Request &request) const;
    uint32_t leaf_flags(const Request &request) const;
    bool may_do_without(const Request &request) const;
    Piece *take_piece();
    void give_piece(Piece *piece);

    Queue &queue;
    Graph &graph;
    QueueOptions options;
    io_uring ring{};
    std::shared_ptr<QueueCounters> counters;

    std::atomic<bool> stopping{false};
    us_crowd crowd{};
    uint32_t begun = 0; // client requests of this turn
    uint32_t busy = 0;  // client requests and background work under way: the loop ends at 0

    QueueExecutor executor;
    Inflight *inflight = nullptr; // nullptr: the table has nothing that needs it
    bool tracks_reads = false;
    uint32_t first_slot = 0;

    std::vector<Piece> pieces;
    Piece *free_pieces = nullptr;
    Request *waiting_first = nullptr, *waiting_last = nullptr; // for a free piece, in order

    struct Wake : Completion {
        Impl *impl = nullptr;
        uint64_t value = 0;
    } wake_read;
    int wake_fd = -1;
    std::mutex posted_mutex;
    std::vector<std::function<void()>> posted;

    std::array<int, US_MAX_LAYERS> file_index_{};
    uint32_t frontend_file = 0;
};

} // namespace us
