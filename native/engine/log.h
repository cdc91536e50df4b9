// Structured log: one JSON object per line on standard error, which the spawner redirects to the stack's log
// file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace us {

enum class Level { info = 30, warn = 40, error = 50 };

// Names that go into every line. Set once at the start, before any thread.
void log_identity(std::string stack, std::string device);

void log(Level level, std::string_view message);

// A failed operation on a leaf: which layer and path, what, where, errno (positive). Repeated (layer, errno)
// pairs are summed up, at most one line a second each, so that a broken disk cannot fill the log.
void log_io_error(std::string_view layer, std::string_view path, const char *op, uint64_t offset,
                  uint64_t length, int error);

} // namespace us
