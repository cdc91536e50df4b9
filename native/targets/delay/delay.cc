#include "targets/delay/delay.h"

namespace us {

namespace {

struct Param {
    const char *name;
    us_op op;
};
constexpr Param PARAMS[] = {{"read", US_OP_READ},
                            {"write", US_OP_WRITE},
                            {"flush", US_OP_FLUSH},
                            {"discard", US_OP_DISCARD},
                            {"writeZeroes", US_OP_WRITE_ZEROES}};

} // namespace

uint64_t DelayInstrument::Room::ready(const Waiter &waiter) const {
    const auto &waiting = static_cast<const Waiting &>(waiter);
    return waiting.round == round ? waiting.arrived + waiting.duration : 0;
}

// Here and not in configure(): a server that runs sees no files but its own.
void DelayInstrument::load(HandlerContext context) {
    if (!config().path.empty()) {
        auto notice = [&](const std::string &text) { context.notice(true, text); };
        const std::string kept = context.run_dir + "/delay-" + config().name + "-trace";
        trace_ = std::make_shared<const Trace>(load_trace(config().path, kept, config().name, notice));
    }
    Instrument::load(std::move(context));
}

Instrument::Watch DelayInstrument::configure(const nlohmann::json &params) {
    auto settings = std::make_shared<Settings>();
    auto seed = params.value("seed", uint64_t{0});
    uint32_t ops = 0;
    for (const Param &param : PARAMS) {
        std::string said = params.value(param.name, "");
        if (said.empty()) continue;
        settings->durations[param.op] = std::make_unique<Durations>(said, seed, trace_);
        ops |= 1u << param.op;
    }
    settings->delayed = watch_of(ops, params);
    settings->keep_order = params.value("keepOrder", false);
    bool all = settings->keep_order && ops != 0; // what is not delayed itself waits for its turn
    Watch watch = all ? Watch{(1u << OPS) - 1, 0, UINT64_MAX} : settings->delayed;
    room_.change([&] { settings->round = ++room_.round; });
    settings_.store(std::move(settings));
    return watch;
}

nlohmann::json DelayInstrument::counts() const {
    return {{"delayed", delayed_.load(std::memory_order_relaxed)},
            {"waitedNs", waited_ns_.load(std::memory_order_relaxed)}};
}

Task<IoResult> DelayInstrument::execute(Executor &executor, LeafIo io, const Run &run) {
    std::shared_ptr<Settings> settings = settings_.load();
    bool delayed = settings->delayed.touches(io);
    if (delayed || settings->keep_order) {
        Waiting waiting;
        waiting.lane = settings->keep_order ? 0 : Turnstile::OPEN;
        waiting.round = settings->round;
        if (delayed) waiting.duration = settings->durations[io.op]->next(io);
        uint64_t waited = co_await room_.pass(executor, waiting);
        delayed_.fetch_add(delayed, std::memory_order_relaxed);
        waited_ns_.fetch_add(waited, std::memory_order_relaxed);
    }
    IoResult result = co_await pass(executor, io, run);
    co_return result;
}

} // namespace us
