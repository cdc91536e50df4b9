// The handshake: fixed newstyle negotiation as a machine of bytes, without any IO of its own.
//
//     greeting ──▶ client flags ──▶ option ──▶ option … ──▶ NBD_OPT_GO | EXPORT_NAME ──▶ transmission
//                                      └──▶ NBD_OPT_ABORT, or a client that breaks the rules ──▶ ended
//
// NBD protocol, "Handshake". Everything a client can make grow is bounded here: the length of an option, the
// number of options; the time is bounded by the connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "frontends/nbd/exports.h"

namespace us::nbd {

// What was agreed on, for the transmission phase.
struct Session {
    const ExportInfo *info = nullptr;
    bool structured = false;   // NBD_OPT_STRUCTURED_REPLY
    bool block_status = false; // base:allocation was selected for this export
};

class Negotiation {
  public:
    static constexpr uint32_t max_option_bytes = 64u << 10;
    static constexpr uint32_t max_options = 256;
    // The longest message that advance() may have to see as a whole.
    static constexpr size_t max_message_bytes = 16 + max_option_bytes;

    enum class State { handshake, transmission, ended };

    // exports must outlive this and the Session.
    explicit Negotiation(const std::vector<ExportInfo> &exports) : exports_(exports) {}

    // What the server says first.
    void greet(std::vector<std::byte> &out) const;

    // Takes one message from the front of `input`, appends the reply to `out`, and returns the bytes taken;
    // 0: the message is not complete. Not to be called unless state() is handshake.
    size_t advance(std::span<const std::byte> input, std::vector<std::byte> &out);

    State state() const { return state_; }
    // Why the client was let go, for the log; empty when it left by itself.
    std::string_view complaint() const { return complaint_; }
    const Session &session() const { return session_; }

  private:
    using Bytes = std::span<const std::byte>;
    size_t take_client_flags(Bytes input);
    void option(uint32_t option, Bytes data, std::vector<std::byte> &out);
    void export_name(Bytes data, std::vector<std::byte> &out);
    void info_or_go(uint32_t option, Bytes data, std::vector<std::byte> &out);
    void list(std::vector<std::byte> &out) const;
    void meta_context(uint32_t option, Bytes data, std::vector<std::byte> &out);
    void enter(const ExportInfo &info);
    uint16_t flags_of(const ExportInfo &info) const;
    void end(std::string_view complaint);

    const std::vector<ExportInfo> &exports_;
    State state_ = State::handshake;
    Session session_;
    std::string_view complaint_;
    const ExportInfo *context_export_ = nullptr; // the one that base:allocation was selected for
    uint32_t nr_options_ = 0;
    bool have_client_flags_ = false;
    bool no_zeroes_ = false;
};

} // namespace us::nbd
