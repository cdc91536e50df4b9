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
    return {{"layer", config().name}, {"settings", params_}, {"counts", counts()}};
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
