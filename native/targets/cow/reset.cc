// Throwing the overlay away while requests come: they wait, and see the base again afterwards.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <future>
#include <memory>

#include "targets/cow/cow.h"

namespace us {

namespace {

constexpr uint64_t DISCARD_BYTES = 1 << 30;
// Who asked is answered before he gives up on the server, and the control socket serves others too.
constexpr std::chrono::seconds PATIENCE{4};

} // namespace

// Whoever asked is told once it is done. Requests that hang below hold it up, and it those that come: so it
// waits for its turn only so long.
void Cow::reset(const std::string &asked_by) {
    auto done = std::make_shared<std::promise<int>>();
    std::future<int> result = done->get_future();
    context().on_background_queue([this, asked_by, done = std::move(done)](Executor &executor) {
        executor.spawn(reset_alone(executor, asked_by, done));
    });
    if (result.wait_for(PATIENCE) != std::future_status::ready) turns_.withdraw_alone();
    if (result.wait_for(PATIENCE) != std::future_status::ready)
        throw ConfigError("io-error", "the overlay is not in use any more, but takes long to give its space "
                                      "back; requests wait for that");
    int error = -ESHUTDOWN;
    try {
        error = result.get();
    } catch (const std::future_error &) { // dropped with the queue
    }
    if (error == 0) return;
    if (error == -ESHUTDOWN) throw ConfigError("server-start", "the server is stopping");
    if (error == -ETIMEDOUT)
        throw ConfigError("timeout", "requests to it are under way below and do not end: the overlay stays");
    throw ConfigError("io-error",
                      std::string("the overlay is not in use any more, but its space is not given back: ") +
                          strerror(-error));
}

Task<void> Cow::reset_alone(Executor &executor, std::string asked_by,
                            std::shared_ptr<std::promise<int>> done) {
    Turns::Ticket turn = co_await turns_.begin_alone(executor);
    int error = -ETIMEDOUT;
    if (!turn->withdrawn) {
        map_.begin_reset();
        error = co_await throw_away(executor);
        map_.end_reset(asked_by);
        counts_.resets.fetch_add(1, std::memory_order_relaxed);
    }
    turns_.end(turn);
    done->set_value(error);
}

// Nothing of it is read any more: this only gives back its space, where the overlay can.
Task<int> Cow::throw_away(Executor &executor) {
    if (!has_overlay_layer()) {
        auto size = static_cast<off_t>(config().size);
        co_return ftruncate(memory_, 0) == 0 && ftruncate(memory_, size) == 0 ? 0 : -errno;
    }
    Run nobody;
    for (uint64_t at = 0; at < config().size; at += DISCARD_BYTES) {
        LeafIo io;
        io.op = US_OP_DISCARD;
        io.offset = at;
        io.length = std::min(DISCARD_BYTES, config().size - at);
        IoResult result = co_await executor.execute(config().children[1], io, nobody);
        if (result.error == -EOPNOTSUPP) break;
        if (result.error != 0) co_return result.error;
    }
    co_return 0;
}

} // namespace us
