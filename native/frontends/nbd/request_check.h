// Which requests are refused before anything is done for them, and what a failure is called on the wire.
// Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "frontends/nbd/negotiation.h"
#include "frontends/nbd/protocol.h"

namespace us::nbd {

// A request in host byte order.
struct Command {
    uint16_t flags = 0;
    uint16_t type = 0;
    uint64_t cookie = 0;
    uint64_t offset = 0;
    uint32_t length = 0;
};

struct Refusal {
    Error error = NBD_SUCCESS; // NBD_SUCCESS: the request may run
    std::string_view reason;   // for the person behind the client, static
    explicit operator bool() const { return error != NBD_SUCCESS; }
};

// False: the stream is not NBD (any more) and cannot be followed further.
bool parse_command(const RequestHeader &header, Command &command);

// NBD protocol, "Command flags", "Size constraints", "Request types", "Error values".
Refusal check_command(const Command &command, const Session &session);

// error: positive errno of a layer. fast_zero: the request carried NBD_CMD_FLAG_FAST_ZERO, the only one that
// may be told NBD_ENOTSUP.
Error wire_error(int error, bool fast_zero);

} // namespace us::nbd
