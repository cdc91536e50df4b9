// The transmission phase of one connection: requests in, replies out, without any socket of its own.
//
//   bytes ──▶ Operation (one request of the client) ──▶ Part, Part, … (requests to the engine) ──▶ replies
//
//   - One operation at a time is being started: its parts are placed, or its payload is received. Those
//   started
//     before it run on by themselves and are answered in the order in which they end.
//   - A part holds at most one buffer. So long reads and writes pass through buffers that the CPU still has
//   in its
//     cache, and a client can never make the server hold more than the budget below. With structured replies
//     every part of a read is a chunk of its own; without, or under NBD_CMD_FLAG_DF, the parts are gathered
//     first, so that an error can still be reported.
//   - What cannot be placed now (budget, tags, objects) is placed when something ends: nothing polls.
//
// NBD protocol, "Transmission".
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/request.h"
#include "frontends/nbd/negotiation.h"
#include "frontends/nbd/pool.h"
#include "frontends/nbd/reply.h"
#include "frontends/nbd/request_check.h"

namespace us::nbd {

class Worker;
class Transmission;
struct Operation;

// A request to the engine, its buffer, and the reply (or the piece of one) that carries the buffer's bytes.
struct Part : Request, Reply {
    Part *next_free = nullptr; // in the pool
    Part *next_gathered = nullptr;
    Transmission *owner = nullptr;
    Operation *operation = nullptr;
    std::byte *memory = nullptr;
    uint32_t bytes = 0; // of memory
};

// A client's request, and the reply to it where no part carries one.
struct Operation : Reply {
    Operation *next_free = nullptr;
    Transmission *owner = nullptr;
    Command command;
    uint64_t placed = 0;  // first byte that no part has been given yet
    uint64_t end = 0;     // where that will be when all of it is placed
    uint32_t parts = 0;   // placed and not ended
    bool gather = false;  // a read that is answered as a whole
    bool refused = false; // a write whose payload is only taken off the stream
    bool dropped = false; // nobody waits for the answer
    bool flush_after = false;
    bool error_is_at_offset = false;
    Error error = NBD_SUCCESS;
    std::string_view reason;
    uint64_t error_offset = 0;
    Part *first_gathered = nullptr, *last_gathered = nullptr;
    std::vector<StatusDescriptor> status;
};

// Told whenever something has ended, on the worker's thread: time to place more, and to send.
class TransmissionOwner {
  public:
    virtual void progressed() = 0;

  protected:
    ~TransmissionOwner() = default;
};

class Transmission {
  public:
    // Bytes in buffers of one connection, above which no new part is placed. (A single gathered read may
    // exceed it: up to MAX_PAYLOAD, with nothing beside it.)
    static constexpr size_t budget_bytes = 4u << 20;

    Transmission(Worker &worker, TransmissionOwner &owner, const Session &session, Outbox &outbox);
    ~Transmission();
    Transmission(const Transmission &) = delete;
    Transmission &operator=(const Transmission &) = delete;

    enum class Want {
        bytes,      // all that could be done with the bytes so far is done
        time,       // more bytes are of no use before something has ended
        disconnect, // the client said goodbye
        hang_up,    // this is not NBD
    };
    // Takes whole requests and payload from the front of `input` and says how much of it is used up.
    // new_requests: whether to begin what has not begun yet.
    Want advance(std::span<const std::byte> input, bool new_requests, size_t &used);

    // Where the next bytes of the stream may go directly; false: into the input buffer. Whatever arrives
    // there is told by payload_arrived() before the next advance().
    bool payload_target(iovec &target) const;
    void payload_arrived(size_t bytes);
    // Length of the request whose payload is being received, 0 for none.
    uint32_t receiving_length() const { return receiving_ ? current_->command.length : 0; }

    // No bytes follow: drops the operation whose payload is incomplete. Not while a receive into
    // payload_target() is under way.
    void end_of_stream();

    // Nobody reads the answers any more. The outbox has been cleared by the owner.
    void abandon();

    // Nothing is under way and nothing is in the outbox.
    bool idle() const { return operations_.in_use() == 0 && parts_.in_use() == 0; }

    // A tag has become free (Worker).
    void tag_free() { owner_.progressed(); }
    Transmission *next_waiting = nullptr;
    bool waiting = false;

  private:
    static constexpr size_t max_operations = 128, max_parts = 256;

    // ---- transmission.cc: from bytes to parts
    void begin(const Command &command);
    bool place_current(std::span<const std::byte> &input); // true: nothing of it is left to place
    bool place_read(Operation &operation);
    bool place_plain(Operation &operation, us_op op, uint64_t max_bytes);
    bool take_payload(Operation &operation, std::span<const std::byte> &input);
    void look_up_status(Operation &operation);
    Part *new_part(Operation &operation, uint64_t bytes);
    bool fits_budget(const Operation &operation, uint64_t bytes) const;
    void place(Operation &operation, Part &part, us_op op, uint64_t bytes);

    // ---- answers.cc: from ended parts to replies
    void part_ended(Part &part);
    void read_part_ended(Part &part, bool last);
    void note_error(Operation &operation, const Part &part);
    void finish(Operation &operation);
    void answer_read(Operation &operation);
    void answer_status(Operation &operation);
    void answer_error(Operation &operation);
    void send(Operation &operation);
    void release(Part &part);
    void release(Operation &operation);
    void drop_current();

    Worker &worker_;
    TransmissionOwner &owner_;
    const Session session_;
    Outbox &outbox_;
    Pool<Operation, 16, max_operations> operations_;
    Pool<Part, 16, max_parts> parts_;
    Operation *current_ = nullptr; // being started
    Part *receiving_ = nullptr;    // of current_, a write: payload goes here
    uint32_t received_ = 0;        // bytes of it that are there
    size_t held_bytes_ = 0;
    bool abandoned_ = false;
};

} // namespace us::nbd
