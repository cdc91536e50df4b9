#include "targets/qcow2/compact_verbs.h"

#include <cerrno>
#include <chrono>
#include <cstring>

namespace us::qcow2 {

using nlohmann::json;

namespace {

constexpr std::chrono::seconds PATIENCE{10};
const char *const PHASES[] = {"zeros", "tables", "clusters", "holes"};

json refused(const char *code, const std::string &message) {
    return {{"error", {{"code", code}, {"message", message}}}};
}

json error_of(int error) {
    switch (-error) {
    case EROFS:
        return refused("image-refused", "the image is not written to any more");
    case ENOTSUP:
        return refused("image-refused", "the image has its data in another file, where nothing can be moved");
    case EUCLEAN:
        return refused("image-corrupt", "the image contradicts itself");
    case ENOSPC:
        return refused("no-space", "there is no space left; the image is whole, and may be smaller");
    case ECANCELED:
        return refused("server-died", "it was stopped; the image is whole, and may be smaller");
    case ETIMEDOUT:
        return refused("timeout", "requests to the layer are under way below and do not end; the image is "
                                  "whole, and may be smaller");
    case ESHUTDOWN:
        return refused("server-start", "the server does not serve at this moment");
    default:
        return refused("io-error",
                       std::string("its clusters cannot be read or written: ") + strerror(-error));
    }
}

} // namespace

json CompactVerbs::answer(const json &request) {
    const std::string verb = request.value("verb", "");
    if (verb == "begin") return begin();
    if (!last_ || request.value("number", uint64_t{0}) != number_)
        return refused("bad-request", "no compaction has this number");
    if (verb == "result") return result();
    if (verb != "stop") return refused("bad-request", "a compaction cannot \"" + verb + "\"");
    last_->compaction.stop = true;
    return {{"ok", true}};
}

json CompactVerbs::begin() {
    if (read_only_) return refused("image-refused", "the layer is read-only");
    if (last_ && last_->under_way()) return refused("controller-busy", "it is being compacted already");
    auto begun = std::make_shared<Begun>();
    last_ = begun;
    post_([this, begun](Executor &executor) { executor.spawn(carry_out(executor, begun)); });
    return {{"number", ++number_}};
}

json CompactVerbs::result() {
    const Compaction &c = last_->compaction;
    if (last_->under_way())
        return {{"state", "under-way"},
                {"phase", PHASES[c.phase]},
                {"doneBytes", c.done.load()},
                {"totalBytes", c.total.load()}};
    if (int error = last_->result.get()) return error_of(error);
    return {{"state", "done"},
            {"zeroBytes", c.zeroed.load()},
            {"movedBytes", c.moved.load()},
            {"movedTableBytes", c.moved_tables.load()}};
}

Task<void> CompactVerbs::carry_out(Executor &executor, std::shared_ptr<Begun> begun) {
    auto ended = std::make_shared<bool>(false);
    executor.spawn(watch(executor, begun, ended));
    int error = co_await compact(image_, executor, begun->compaction);
    *ended = true;
    executor.ring(ended.get());
    begun->done.set_value(error);
}

// One wait for all others' requests that lasts from one look to the next is too long.
Task<void> CompactVerbs::watch(Executor &executor, std::shared_ptr<Begun> begun,
                               std::shared_ptr<bool> ended) {
    uint64_t waits = 0;
    while (!*ended) {
        auto end = std::chrono::steady_clock::now() + PATIENCE;
        auto at = std::chrono::duration_cast<std::chrono::nanoseconds>(end.time_since_epoch()).count();
        co_await executor.pause_until(static_cast<uint64_t>(at), ended.get());
        uint64_t now = begun->compaction.waits;
        if (!*ended && now % 2 == 1 && now == waits) image_.withdraw_waiting();
        waits = now;
    }
}

} // namespace us::qcow2
