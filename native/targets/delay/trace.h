// The trace that a delay goes by, from a file of the user's.
//
//     a server starts    the file is read, and kept in the run directory
//     another takes      the file is read again; where it is gone or no trace any more, the one that was kept
//     its place          serves, and the log says so: a device must not die of a file that it does not need
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace us {

// As src/spec/duration.ts has it: what a number of JSON can say exactly.
constexpr uint64_t DURATION_MAX = (uint64_t{1} << 53) - 1;

// Nanoseconds, in the order in which they are used, over and over.
using Trace = std::vector<uint64_t>;

// Reads a file of durations such as 5ms, one a line; blank lines and what follows a # do not count. `kept` is
// the file that keeps it. Throws ConfigError, naming the line.
Trace load_trace(const std::string &path, const std::string &kept, const std::string &layer,
                 const std::function<void(const std::string &)> &notice);

} // namespace us
