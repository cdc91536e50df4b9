#include "targets/readonly/readonly.h"

#include <cerrno>

namespace us {

Instrument::Watch ReadonlyInstrument::configure(const nlohmann::json &params) {
    bool enabled = params.value("enabled", true);
    enabled_ = enabled;
    uint32_t writes = 1u << US_OP_WRITE | 1u << US_OP_DISCARD | 1u << US_OP_WRITE_ZEROES;
    return {enabled ? writes : 0};
}

nlohmann::json ReadonlyInstrument::counts() const {
    return {{"refused", refused_.load(std::memory_order_relaxed)}};
}

Task<IoResult> ReadonlyInstrument::execute(Executor &executor, LeafIo io, const Run &run) {
    if (enabled_ && us_op_writes(io.op)) {
        refused_.fetch_add(1, std::memory_order_relaxed);
        co_return IoResult{-EROFS, 0};
    }
    IoResult result = co_await pass(executor, io, run);
    co_return result;
}

} // namespace us
