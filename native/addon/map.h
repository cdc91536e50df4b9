// The mapping core, for tests in JavaScript: where requests go, by the very walker that serves them.
#pragma once

#define NAPI_VERSION 8
#include <napi.h>

#include <string>

namespace us::addon {

// Pure. question, as JSON:
//
//     device    one element of Table.devices
//     live      { LAYER: { readable, writable, open, unrecorded, windowStart, windowEnd } } for mirrors that
//               differ from all members in sync, the gate open, and all failures on record
//     requests  [{ root, op, offset, length }], op as in enum us_op
//
// Answer, as JSON: { walks, pieces }. walks: how many walks this process has done so far. pieces: per
// request, in the order of the walk, [layer, offset, length, buffer, redirected]: layer index, bytes in that
// layer, bytes, offset into the request's buffer, 1 when a handler takes the piece over; null for a request
// that the walker gives up on. Throws ConfigError, or nlohmann::json::exception.
std::string map_requests(const std::string &question);

// map(question: string): string, the same; throws an Error with .code.
Napi::Value map(const Napi::CallbackInfo &info);

} // namespace us::addon
