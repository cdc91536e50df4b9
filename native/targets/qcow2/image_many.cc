// Requests of several clusters: neighbours of one kind go to the media in one piece, and pieces side by side.
#include <algorithm>
#include <cerrno>

#include "targets/qcow2/image.h"

namespace us::qcow2 {

namespace {

Task<int> all_of(std::vector<Task<int>> tasks) {
    std::vector<int> errors = co_await all(std::move(tasks));
    for (int error : errors)
        if (error != 0) co_return error;
    co_return 0;
}

} // namespace

// Those whose answers follow one another, on the media or in the backing, are one run.
Task<int> Image::read_many(Executor &executor, uint64_t offset, std::span<std::byte> into) {
    std::vector<Task<int>> tasks;
    us_qcow2_run pending{};
    auto put = [&](uint64_t end) {
        uint64_t length = pending.length;
        if (length != 0)
            tasks.push_back(read_run(pending, end - length, into.subspan(end - length - offset, length)));
        pending.length = 0;
    };
    int error = 0;
    uint64_t at = offset;
    for (const uint64_t end = offset + into.size(); at < end;) {
        uint64_t within = at % cluster();
        Entry entry;
        error = co_await find(executor, at - within, entry);
        if (error != 0) break;
        us_qcow2_run run = run_of(entry, at - within, within);
        show(entry, at - within, within, std::min<uint64_t>(run.length, end - at));
        run.length = std::min<uint64_t>(run.length, end - at);
        bool follows = pending.length != 0 && run.kind == pending.kind && run.kind != US_QCOW2_INFLATE &&
                       (run.kind != US_QCOW2_DATA || run.host == pending.host + pending.length);
        uint64_t length = run.length;
        if (follows) {
            pending.length += length;
        } else {
            put(at);
            pending = run;
        }
        at += length;
    }
    if (error != 0) co_return error; // nothing was begun
    put(at);
    error = co_await all_of(std::move(tasks));
    co_return error;
}

// In their places: one run. Whole ones that have none: places side by side for all of them. What is left is
// written cluster by cluster.
Task<int> Image::write_many(Executor &executor, uint64_t offset, std::span<const std::byte> from) {
    enum class Kind { none, in_place, fresh };
    std::vector<Task<int>> tasks;
    Kind kind = Kind::none;
    uint64_t begin = offset, host = 0; // of what is pending: up to `at`
    std::vector<Entry> befores;
    auto put = [&](uint64_t end) {
        auto bytes = from.subspan(begin - offset, end - begin);
        if (kind == Kind::in_place) tasks.push_back(data().write(host, bytes));
        if (kind == Kind::fresh)
            tasks.push_back(write_fresh(executor, begin, std::exchange(befores, {}), bytes));
        kind = Kind::none;
    };
    int error = co_await may_change(executor);
    uint64_t at = offset;
    for (const uint64_t end = offset + from.size(); at < end && error == 0;) {
        uint64_t within = at % cluster(), guest = at - within,
                 length = std::min(cluster() - within, end - at);
        Entry before;
        error = co_await find(executor, guest, before);
        if (error == 0) error = check_place(before, guest, within);
        if (error != 0) break;
        us_qcow2_run run = run_of(before, guest, within);
        bool in_place = run.kind == US_QCOW2_DATA && run.exclusive && run.length >= length;
        if (in_place) show(before, guest, within, length);
        bool fresh = !in_place && length == cluster() && !place_for(before, guest);
        bool follows = (kind == Kind::in_place && in_place && run.host == host + (at - begin)) ||
                       (kind == Kind::fresh && fresh);
        if (!follows) {
            put(at);
            begin = at;
            host = run.host;
            kind = in_place ? Kind::in_place : fresh ? Kind::fresh : Kind::none;
        }
        if (fresh) befores.push_back(before);
        if (!in_place && !fresh)
            tasks.push_back(write_new(executor, before, guest, within, from.subspan(at - offset, length)));
        at += length;
    }
    if (error != 0) co_return error;
    put(at);
    error = co_await all_of(std::move(tasks));
    co_return error;
}

// Whole clusters from `guest` on, as many as there are entries; side by side as far as one L2 table goes.
Task<int> Image::write_fresh(Executor &executor, uint64_t guest, std::vector<Entry> befores,
                             std::span<const std::byte> bytes) {
    for (uint64_t done = 0; done < befores.size();) {
        uint64_t at = guest + done * cluster(), host = 0;
        if (int error = co_await table_first(executor, at)) co_return error;
        uint64_t in_table = (header_.l2_span() - at % header_.l2_span()) / cluster(),
                 count = std::min<uint64_t>(befores.size() - done, in_table);
        if (int error = co_await allocator_.allocate(executor, host, count)) co_return error;
        auto part = bytes.subspan(done * cluster(), count * cluster());
        int error = co_await media_.write(host, part);
        uint64_t set = 0; // a cluster that an entry leads to is not given back
        for (; set < count && error == 0; set += error == 0) {
            error = co_await set_entry(
                executor, at + set * cluster(),
                {(host + set * cluster()) | US_QCOW2_COPIED, header_.shape.extended ? 0xffffffff : 0u, 0});
            if (error == 0) give_up(befores[done + set], 0);
        }
        if (error != 0) {
            co_await allocator_.release(executor, {host + set * cluster(), (count - set) * cluster()});
            co_return error;
        }
        done += count;
    }
    co_return 0;
}

} // namespace us::qcow2
