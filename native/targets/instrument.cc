#include "targets/instrument.h"

#include <cerrno>

namespace us {

void Instrument::fill(us_layer &, us_link *, const std::vector<uint64_t> &sizes) const {
    if (sizes.empty() || config().size > sizes[0]) refuse("it does not fit its member");
}

void Instrument::load(HandlerContext context) {
    context_ = std::move(context);
    const MemberNow &base = context_.members.at(0);
    if (!base.trouble.empty()) throw ConfigError("server-start", base.trouble, config().name);
    identity_ = base.identity.value_or("");
    set(config().params);
}

Task<int> Instrument::settle(Executor &, LeafIo, const Run &) {
    co_return -EINVAL;
}

std::string Instrument::readd(const std::string &) {
    return "layer \"" + config().name + "\" is no mirror";
}

nlohmann::json Instrument::status() const {
    std::lock_guard lock(mutex_);
    return {{"layer", config().name}, {"settings", settings(params_)}, {"counts", counts()}};
}

bool Instrument::Watch::touches(const LeafIo &io) const {
    if (!(ops >> io.op & 1)) return false;
    return io.op == US_OP_FLUSH || (io.offset < end && io.offset + io.length > start);
}

Instrument::Watch Instrument::watch_of(uint32_t ops, const nlohmann::json &params) {
    Watch watch{ops, params.value("startBytes", uint64_t{0}), UINT64_MAX};
    uint64_t length = params.value("lengthBytes", UINT64_MAX);
    if (length <= UINT64_MAX - watch.start) watch.end = watch.start + length;
    return watch;
}

void Instrument::set(const nlohmann::json &params) {
    std::lock_guard lock(mutex_);
    watch(configure(params));
    params_ = params;
}

// In whatever order another thread sees them, a request is treated by the old settings or by the new ones: a
// handler asks its settings again.
void Instrument::watch(const Watch &watch) {
    __atomic_store_n(&context_.live->window_start, watch.start, __ATOMIC_RELAXED);
    __atomic_store_n(&context_.live->window_end, watch.end, __ATOMIC_RELAXED);
    __atomic_store_n(&context_.live->gate, watch.ops, __ATOMIC_RELEASE);
}

} // namespace us
