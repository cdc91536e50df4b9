#include "targets/qcow2/snapshot_verbs.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

namespace us::qcow2 {

using nlohmann::json;

namespace {

constexpr std::chrono::seconds PATIENCE{10};

json refused(const char *code, const std::string &message) {
    return {{"error", {{"code", code}, {"message", message}}}};
}

json described(const Snapshot &snapshot) {
    constexpr uint64_t SECOND = 1'000'000'000;
    auto count = icount_of(snapshot);
    return {{"id", snapshot.id},
            {"name", snapshot.name},
            {"sizeBytes", snapshot.size},
            {"vmStateBytes", snapshot.vm_state_bytes},
            {"seconds", snapshot.seconds},
            {"nanoseconds", snapshot.nanoseconds},
            {"guestSeconds", snapshot.guest_nanoseconds / SECOND},
            {"guestNanoseconds", snapshot.guest_nanoseconds % SECOND},
            {"icount", count ? json(*count) : json()}};
}

} // namespace

json SnapshotVerbs::answer(const json &request) {
    const std::string verb = request.value("verb", "");
    if (verb == "list") return list();
    if (verb == "result") return result(request.value("number", uint64_t{0}));
    if (verb == "create" || verb == "apply" || verb == "delete")
        return begin({verb, request.value("name", "")});
    return refused("bad-request", "snapshots cannot \"" + verb + "\"");
}

json SnapshotVerbs::list() const {
    json snapshots = json::array();
    for (const Snapshot &snapshot : image_.snapshots())
        snapshots.push_back(described(snapshot));
    json under_way;
    if (last_ && last_->under_way()) under_way = {{"verb", last_->change.verb}, {"name", last_->change.name}};
    return {{"snapshots", snapshots}, {"underWay", under_way}};
}

json SnapshotVerbs::begin(Change change) {
    if (read_only_)
        return refused("snapshot-refused", "the layer is read-only: its snapshots can be listed only");
    if (last_ && last_->under_way())
        return refused("controller-busy", "snapshot \"" + last_->change.name + "\": " + last_->change.verb +
                                              " is still under way");
    // Nothing else changes the list before this has ended.
    if (change.verb == "apply") {
        const std::vector<Snapshot> snapshots = image_.snapshots();
        size_t index = 0;
        if (int error = find_snapshot(snapshots, change.name, index)) return error_of(change, error);
        if (uint64_t size = snapshots[index].size; size != size_)
            return refused("snapshot-refused", "snapshot \"" + change.name + "\" is of a disk of " +
                                                   std::to_string(size) + " bytes, and the layer has " +
                                                   std::to_string(size_) +
                                                   ": a disk does not change its size under its users");
    }
    auto done = std::make_shared<std::promise<int>>();
    uint64_t number = last_ ? last_->number + 1 : 1;
    last_ = Begun{number, change, done->get_future().share()};
    post_([this, change, done = std::move(done)](Executor &executor) {
        executor.spawn(carry_out(executor, change, done));
    });
    return {{"number", number}};
}

json SnapshotVerbs::result(uint64_t number) const {
    if (!last_ || last_->number != number)
        return refused("bad-request", "no change of snapshots has the number " + std::to_string(number));
    if (last_->under_way()) return {{"state", "under-way"}};
    int error = -ESHUTDOWN;
    try {
        error = last_->result.get();
    } catch (const std::future_error &) { // dropped with the queue
    }
    if (error != 0) return error_of(last_->change, error);
    json done = {{"state", "done"}};
    if (last_->change.verb == "create")
        for (const Snapshot &snapshot : image_.snapshots())
            if (snapshot.name == last_->change.name) done["snapshot"] = described(snapshot);
    return done;
}

json SnapshotVerbs::error_of(const Change &change, int error) const {
    const std::string name = "\"" + change.name + "\"";
    switch (-error) {
    case EEXIST:
        return refused("snapshot-exists", "there is a snapshot " + name + " already");
    case ENOENT:
        return refused("snapshot-unknown", "there is no snapshot " + name);
    case ENOTUNIQ:
        return refused("snapshot-ambiguous", name + " is the id or the tag of several snapshots");
    case EINVAL:
    case ENAMETOOLONG:
        return refused("snapshot-refused", "a tag has 1 to 255 bytes, none of them 0");
    case EFBIG:
        return refused("snapshot-refused", "the image has no room for it: too many snapshots, or references "
                                           "to a cluster than its refcounts can count");
    case ENOTSUP:
        return refused("snapshot-refused", "an image with a data file has no snapshots");
    case EROFS:
        return refused("snapshot-refused", "the image is not written to any more");
    case EUCLEAN:
        return refused("image-corrupt", "the image contradicts itself");
    case ENOSPC:
        return refused("no-space", "there is no space left for the new tables; nothing has changed");
    case ETIMEDOUT:
        return refused("timeout", "requests to the layer are under way below and do not end; nothing has "
                                  "changed");
    case ESHUTDOWN:
        return refused("server-start", "the server does not serve at this moment; nothing has changed");
    default:
        return refused("io-error", std::string("its tables cannot be read or written: ") + strerror(-error));
    }
}

Task<void> SnapshotVerbs::carry_out(Executor &executor, Change change,
                                    std::shared_ptr<std::promise<int>> done) {
    auto ended = std::make_shared<bool>(false);
    executor.spawn(lose_patience(executor, ended));
    int error = 0;
    if (change.verb == "create") {
        using namespace std::chrono;
        nanoseconds now = system_clock::now().time_since_epoch();
        SnapshotRequest request;
        request.tag = change.name;
        request.seconds = static_cast<uint32_t>(now / seconds(1));
        request.nanoseconds = static_cast<uint32_t>((now % seconds(1)).count());
        error = co_await image_.snapshot_create(executor, request);
    } else if (change.verb == "apply") {
        error = co_await image_.snapshot_apply(executor, change.name);
    } else {
        error = co_await image_.snapshot_delete(executor, change.name);
    }
    *ended = true;
    executor.ring(ended.get());
    done->set_value(error);
}

// Requests that hang below keep a change from beginning, and it those that come.
Task<void> SnapshotVerbs::lose_patience(Executor &executor, std::shared_ptr<bool> ended) {
    auto end = std::chrono::steady_clock::now() + PATIENCE;
    auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(end.time_since_epoch()).count();
    co_await executor.pause_until(static_cast<uint64_t>(nanoseconds), ended.get());
    if (!*ended) image_.withdraw_waiting();
}

} // namespace us::qcow2
