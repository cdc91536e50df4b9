// The log, as steps of the trace.
#include "engine/log.h"

#include <cinttypes>

#include "trace.h"

namespace us {

void log_identity(std::string, std::string) {}

void log(Level, std::string_view message) {
    STEP("  log: %.*s", static_cast<int>(message.size()), message.data());
}

// Each failure is a step of the simulated disk already.
void log_io_error(std::string_view, std::string_view, const char *, uint64_t, uint64_t, int) {}

} // namespace us
