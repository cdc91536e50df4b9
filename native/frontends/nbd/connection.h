// One client: its descriptors, its input buffer, and what is on its way to it.
//
//     handshake ──▶ transmission ──▶ draining ──▶ closing ──▶ retired
//         └─────────────┴── error ──────────────────▲
//
//   draining   the client said goodbye or sent its last byte, or the server stops: what is under way is
//   finished
//              and answered, within a deadline
//   closing    nothing is sent any more; waits for the kernel and the engine to let go of the buffers
//
// At most one receive and one send are with the kernel. A receive takes as much as is there: many small
// requests at once, or the payload of a long write straight into its buffer with the next requests behind it.
// Replies gather while a send is under way, and go out together in the next.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/completion.h"
#include "frontends/nbd/negotiation.h"
#include "frontends/nbd/reply.h"
#include "frontends/nbd/transmission.h"

namespace us::nbd {

class Worker;

class Connection : TransmissionOwner {
  public:
    static constexpr int64_t handshake_ms_max = 10'000;
    static constexpr int64_t drain_ms_max = 5'000;

    // Takes the descriptors over; they may be one and the same.
    Connection(Worker &worker, int input, int output);
    ~Connection();
    Connection(const Connection &) = delete;
    Connection &operator=(const Connection &) = delete;

    // Says hello and begins to listen.
    void start() { progressed(); }
    // The server stops: no new requests.
    void stop();
    // Closes what has taken too long. Returns whether a deadline is still ahead.
    bool check_deadline(int64_t now_ms);

  private:
    enum class Phase { handshake, transmission, draining, closing };
    // One operation that is with the kernel.
    struct Transfer : Completion {
        Connection *connection = nullptr;
        bool busy = false;
        msghdr message{};
        iovec vector[2] = {};
    };

    void progressed() override;
    void step();
    void negotiate();
    void transmit();
    void drain(int64_t deadline_ms);
    void close_now();
    void cancel(Transfer &transfer);
    void begin_receive();
    void begin_send();
    void received(int32_t result);
    void sent(int32_t result);

    Worker &worker_;
    int input_fd_, output_fd_;
    bool input_is_socket_, output_is_socket_;
    Phase phase_ = Phase::handshake;
    bool in_step_ = false;
    bool retired_ = false;
    bool stopping_ = false; // no new requests
    bool input_ended_ = false;
    bool want_input_ = true;
    int64_t deadline_ms_; // of the handshake or of draining
    std::unique_ptr<std::byte[]> input_;
    size_t input_begin_ = 0, input_end_ = 0;
    Transfer receive_, send_;
    Outbox outbox_;
    Negotiation negotiation_;
    std::vector<std::byte> handshake_bytes_; // being sent
    Reply handshake_reply_;
    std::optional<Transmission> transmission_;
};

} // namespace us::nbd
