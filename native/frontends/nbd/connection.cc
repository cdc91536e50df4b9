#include "frontends/nbd/connection.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "frontends/nbd/worker.h"

namespace us::nbd {

namespace {

// Holds the longest message of the handshake, and some dozen small writes with their data.
constexpr size_t input_bytes = 80u << 10;
static_assert(input_bytes >= Negotiation::max_message_bytes);

// Behind the payload of a long write only the next header is fetched: what follows it is better received
// straight into its own buffer than copied there.
constexpr uint32_t long_write_bytes = 64u << 10;
constexpr size_t input_behind_long_write_bytes = 512;

bool is_socket(int fd) {
    struct stat st {};
    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

} // namespace

Connection::Connection(Worker &worker, int input, int output)
    : worker_(worker), input_fd_(input), output_fd_(output), input_is_socket_(is_socket(input)),
      output_is_socket_(is_socket(output)), deadline_ms_(now_ms() + handshake_ms_max),
      input_(std::make_unique_for_overwrite<std::byte[]>(input_bytes)),
      negotiation_(worker.service().exports) {
    receive_.connection = send_.connection = this;
    receive_.fn = [](Completion &self, int32_t result, uint32_t) {
        static_cast<Transfer &>(self).connection->received(result);
    };
    send_.fn = [](Completion &self, int32_t result, uint32_t) {
        static_cast<Transfer &>(self).connection->sent(result);
    };
    handshake_reply_.sent = [](Reply &) {};
    negotiation_.greet(handshake_bytes_);
    handshake_reply_.data = handshake_bytes_.data();
    handshake_reply_.data_bytes = static_cast<uint32_t>(handshake_bytes_.size());
    outbox_.push(handshake_reply_);
    worker_.want_ticks();
}

Connection::~Connection() {
    close(input_fd_);
    if (output_fd_ != input_fd_) close(output_fd_);
}

void Connection::progressed() {
    if (in_step_) return; // it looks again at everything before it ends
    in_step_ = true;
    step();
    in_step_ = false;
}

void Connection::step() {
    if (phase_ == Phase::handshake) negotiate();
    if (phase_ == Phase::transmission || phase_ == Phase::draining) transmit();
    if (phase_ == Phase::draining && outbox_.empty() && !send_.busy &&
        (!transmission_ || transmission_->idle()))
        close_now();
    if (phase_ == Phase::closing) {
        // The kernel may still read what is in the outbox until the send has come back.
        if (!send_.busy) outbox_.clear();
        if (!receive_.busy && transmission_) transmission_->abandon();
        bool over = !receive_.busy && !send_.busy && (!transmission_ || transmission_->idle());
        if (over && !retired_) {
            retired_ = true;
            worker_.retire(*this);
        }
        return;
    }
    begin_send();
    begin_receive();
}

void Connection::negotiate() {
    // One reply at a time: a client that sends options without reading gets no further.
    while (phase_ == Phase::handshake && outbox_.empty()) {
        if (negotiation_.state() == Negotiation::State::transmission) {
            transmission_.emplace(worker_, static_cast<TransmissionOwner &>(*this), negotiation_.session(),
                                  outbox_);
            phase_ = Phase::transmission;
            break;
        }
        if (negotiation_.state() == Negotiation::State::ended) {
            if (!negotiation_.complaint().empty()) worker_.complain(negotiation_.complaint());
            return drain(now_ms() + drain_ms_max);
        }
        handshake_bytes_.clear();
        size_t used =
            negotiation_.advance({input_.get() + input_begin_, input_end_ - input_begin_}, handshake_bytes_);
        input_begin_ += used;
        if (!handshake_bytes_.empty()) {
            handshake_reply_.head_bytes = 0;
            handshake_reply_.data = handshake_bytes_.data();
            handshake_reply_.data_bytes = static_cast<uint32_t>(handshake_bytes_.size());
            outbox_.push(handshake_reply_);
        }
        if (used == 0) {
            if (input_ended_) drain(now_ms() + drain_ms_max);
            break;
        }
    }
}

void Connection::transmit() {
    if (!transmission_) return;
    size_t used = 0;
    bool new_requests = phase_ == Phase::transmission && !stopping_;
    auto want =
        transmission_->advance({input_.get() + input_begin_, input_end_ - input_begin_}, new_requests, used);
    input_begin_ += used;
    want_input_ = want == Transmission::Want::bytes;
    if (want == Transmission::Want::hang_up) {
        worker_.complain("wrong magic number before a request");
        return close_now();
    }
    if (want == Transmission::Want::disconnect) drain(now_ms() + drain_ms_max);
    if (want == Transmission::Want::bytes && (input_ended_ || stopping_) && !receive_.busy) {
        transmission_->end_of_stream();
        if (phase_ == Phase::transmission) drain(now_ms() + drain_ms_max);
    }
}

void Connection::drain(int64_t deadline_ms) {
    phase_ = Phase::draining;
    deadline_ms_ = deadline_ms;
    cancel(receive_);
    worker_.want_ticks();
}

void Connection::stop() {
    stopping_ = true;
    if (phase_ == Phase::handshake)
        close_now();
    else
        cancel(receive_);
    if (phase_ == Phase::transmission) {
        deadline_ms_ = now_ms() + drain_ms_max;
        worker_.want_ticks();
    }
    progressed();
}

void Connection::close_now() {
    phase_ = Phase::closing;
    // Wakes whatever waits for the client; descriptors that are no sockets are cancelled instead.
    if (input_is_socket_) shutdown(input_fd_, SHUT_RDWR);
    if (output_is_socket_) shutdown(output_fd_, SHUT_RDWR);
    cancel(receive_);
    cancel(send_);
}

void Connection::cancel(Transfer &transfer) {
    if (!transfer.busy) return;
    static Completion nobody = {[](Completion &, int32_t, uint32_t) {}};
    io_uring_sqe *sqe = worker_.queue().prepare(nobody);
    io_uring_prep_cancel64(sqe, reinterpret_cast<uintptr_t>(static_cast<Completion *>(&transfer)), 0);
}

bool Connection::check_deadline(int64_t now) {
    bool timed = phase_ == Phase::handshake || phase_ == Phase::draining ||
                 (phase_ == Phase::transmission && stopping_);
    if (!timed) return false;
    if (now < deadline_ms_) return true;
    worker_.complain(phase_ == Phase::handshake ? "handshake took too long"
                                                : "client does not take its replies");
    close_now();
    progressed();
    return false;
}

void Connection::begin_receive() {
    bool listening = phase_ == Phase::transmission || (phase_ == Phase::handshake && outbox_.empty());
    if (receive_.busy || input_ended_ || stopping_ || !listening || !want_input_) return;

    size_t count = 0;
    size_t room = input_bytes;
    if (transmission_ && transmission_->payload_target(receive_.vector[0])) {
        count = 1;
        if (transmission_->receiving_length() >= long_write_bytes) room = input_behind_long_write_bytes;
    }
    size_t left = input_end_ - input_begin_;
    if (left) std::memmove(input_.get(), input_.get() + input_begin_, left);
    input_begin_ = 0;
    input_end_ = left;
    receive_.vector[count++] = {input_.get() + left, std::min(room, input_bytes - left)};

    receive_.busy = true;
    io_uring_sqe *sqe = worker_.queue().prepare(receive_);
    if (!input_is_socket_) {
        io_uring_prep_readv(sqe, input_fd_, receive_.vector, static_cast<unsigned>(count), -1);
    } else if (count == 1) {
        io_uring_prep_recv(sqe, input_fd_, receive_.vector[0].iov_base, receive_.vector[0].iov_len, 0);
    } else {
        receive_.message = {};
        receive_.message.msg_iov = receive_.vector;
        receive_.message.msg_iovlen = count;
        io_uring_prep_recvmsg(sqe, input_fd_, &receive_.message, 0);
    }
}

void Connection::received(int32_t result) {
    receive_.busy = false;
    if (result > 0) {
        auto bytes = static_cast<size_t>(result);
        iovec target;
        if (transmission_ && transmission_->payload_target(target)) {
            size_t payload = std::min(bytes, target.iov_len);
            transmission_->payload_arrived(payload);
            bytes -= payload;
        }
        input_end_ += bytes;
    } else if (result == 0) {
        input_ended_ = true;
    } else if (result == -ECANCELED) {
        // we asked for it: the phase says why
    } else if (result != -EINTR && result != -EAGAIN && phase_ != Phase::closing) {
        close_now();
    }
    progressed();
}

void Connection::begin_send() {
    if (outbox_.empty()) return;
    // What comes in while an entry is not with the kernel yet goes along with it.
    send_.message.msg_iov = const_cast<iovec *>(outbox_.vector());
    send_.message.msg_iovlen = outbox_.vector_length();
    if (send_.busy) return;
    send_.busy = true;
    io_uring_sqe *sqe = worker_.queue().prepare(send_);
    if (output_is_socket_)
        io_uring_prep_sendmsg(sqe, output_fd_, &send_.message, MSG_NOSIGNAL);
    else
        io_uring_prep_writev(sqe, output_fd_, outbox_.vector(),
                             static_cast<unsigned>(outbox_.vector_length()), -1);
}

void Connection::sent(int32_t result) {
    send_.busy = false;
    if (result > 0)
        outbox_.taken(static_cast<size_t>(result));
    else if (result != -EINTR && result != -EAGAIN && phase_ != Phase::closing)
        close_now();
    progressed();
}

} // namespace us::nbd
