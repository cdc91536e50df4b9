// Before anything is served, children first: what a killed predecessor had in flight is made equal on all
// members, and formats are opened, which read what lies below them.
#include <cerrno>
#include <cstring>

#include "core/map.h"
#include "engine/graph_impl.h"
#include "engine/log.h"
#include "engine/queue_impl.h"
#include "targets/format.h"

namespace us {

void Graph::Impl::run(Queue &queue, Task<void> work) {
    bool done = false;
    auto wait = [](Task<void> work, bool &done) -> Task<void> {
        co_await work;
        done = true;
    };
    detach(wait(std::move(work), done));
    queue.impl().run_until([&] { return done; });
}

uint32_t Graph::Impl::nr_child_slots() const {
    if (!config.has_mirror) return 0;
    uint32_t slots = 0;
    for (const auto &target : targets)
        if (target->format()) slots += CHILD_SLOTS;
    return slots;
}

// A mirror above may do without a layer that cannot be served; whatever else lies on it cannot.
Task<void> Graph::Impl::open_format(Executor &executor, uint32_t layer) {
    Target &target = *targets[layer];
    if (troubles.contains(layer) || !(target.format() || target.instrument())) co_return;
    for (uint32_t child : target.config().children)
        if (std::string below = trouble_of(child); !below.empty()) {
            troubles.emplace(layer, ConfigError("server-start", below, target.config().name));
            co_return;
        }
    if (!target.format()) co_return;
    std::optional<ConfigError> refused = co_await target.format()->open(executor);
    if (refused) troubles.emplace(layer, *refused);
}

Task<void> Graph::Impl::make_ready(Executor &executor, std::optional<ConfigError> &trouble) {
    uint32_t settled = 0;
    int error = 0;
    for (uint32_t i = static_cast<uint32_t>(targets.size()); i-- > 0 && error == 0;) {
        co_await open_format(executor, i);
        error = co_await settle(executor, i, settled);
    }
    if (error != 0)
        trouble = ConfigError("server-start", std::string("making mirrors equal: ") + strerror(-error));
    if (settled)
        log(Level::warn,
            "made equal what a killed server had in flight: " + std::to_string(settled) + " requests");
}

Task<int> Graph::Impl::settle(Executor &executor, uint32_t root, uint32_t &settled) {
    Inflight &inflight = live_file->inflight();
    for (uint32_t i = 0; i < inflight.size(); i++) {
        const Slot &slot = inflight.slot(i);
        // What names no layer at all is found with the last one.
        bool mine = slot.root == root || (root == 0 && slot.root >= config.table.nr_layers);
        if (slot.sequence.load() == 0 || !mine) continue;
        if (slot.op == US_OP_READ && slot.root < config.table.nr_layers) { // it has changed nothing
            inflight.clear(i);
            continue;
        }
        LeafIo io;
        io.op = static_cast<us_op>(slot.op);
        io.offset = slot.offset;
        io.length = slot.length;
        bool sane = slot.root < config.table.nr_layers && us_op_writes(slot.op) &&
                    slot.offset <= config.table.layers[slot.root].size &&
                    slot.length <= config.table.layers[slot.root].size - slot.offset;
        int error = -EUCLEAN;
        if (sane) error = co_await settle_layer(executor, slot.root, io);
        if (error != 0) co_return error;
        inflight.clear(i);
        settled++;
    }
    co_return 0;
}

// Mirrors that cannot be made equal now: when they are opened next, they take nothing for granted.
void Graph::Impl::leave_unsettled(uint32_t layer) {
    if (config.table.layers[layer].type == US_TYPE_MIRROR) live_file->resync(layer).unsettled = 1;
    for (uint32_t child : targets[layer]->config().children)
        leave_unsettled(child);
}

// Members that a mirror has dropped may be mirrors themselves, which somebody may take back or use by
// themselves.
Task<void> Graph::Impl::settle_dropped(Executor &executor, uint32_t layer, LeafIo io) {
    const std::vector<uint32_t> &children = targets[layer]->config().children;
    for (uint32_t c = 0; c < children.size(); c++) {
        if (live->layers[layer].writable >> c & 1) continue;
        int error = co_await settle_layer(executor, children[c], io);
        if (error != 0) leave_unsettled(children[c]);
    }
}

// What a client wrote by the words of a format: it lies where it did, or nothing leads there any more. All
// else the format wrote itself, in slots of its own.
Task<int> Graph::Impl::settle_format(Executor &executor, uint32_t layer, LeafIo io) {
    if (io.op != US_OP_WRITE) co_return 0;
    Format &format = *targets[layer]->format();
    for (uint64_t done = 0; done < io.length;) {
        FormatPlace place;
        int error = co_await format.look_up(executor, io.offset + done, io.length - done, place);
        if (error != 0) {
            leave_unsettled(layer);
            co_return 0;
        }
        LeafIo piece = io;
        piece.offset = place.offset;
        piece.length = place.length;
        uint32_t child = targets[layer]->config().children[format.unit_child()];
        if (place.on_child) error = co_await settle_layer(executor, child, piece);
        if (error != 0) co_return error;
        done += place.length;
    }
    co_return 0;
}

// Down to the outermost handlers: what lies beside them is a single copy, and equal to itself.
Task<int> Graph::Impl::settle_layer(Executor &executor, uint32_t layer, LeafIo io) {
    Run nobody;
    // It could not be opened: the mirror above has dropped it.
    if (!trouble_of(layer).empty()) {
        leave_unsettled(layer);
        co_return 0;
    }
    if (targets[layer]->instrument()) {
        int error = co_await settle_layer(executor, targets[layer]->config().children[0], io);
        co_return error;
    }
    if (targets[layer]->format()) {
        int error = co_await settle_format(executor, layer, io);
        co_return error;
    }
    if (Handler *handler = targets[layer]->handler()) {
        int error = co_await handler->settle(executor, io, nobody);
        if (error == 0 && config.table.layers[layer].type == US_TYPE_MIRROR)
            co_await settle_dropped(executor, layer, io);
        co_return error;
    }
    if (leaves[layer]) co_return 0;
    for (uint64_t done = 0; done < io.length;) {
        us_step step = us_map(&config.table, live, nullptr, layer, io.op, io.offset + done, io.length - done);
        if (step.disposition == US_REDIRECT || step.nr_children != 1 || step.n == 0) co_return -EIO;
        LeafIo piece = io;
        piece.offset = step.offset;
        piece.length = step.n;
        uint32_t child = config.table.links[config.table.layers[layer].first_link + step.first_child].layer;
        int error = co_await settle_layer(executor, child, piece);
        if (error != 0) co_return error;
        done += step.n;
    }
    co_return 0;
}

} // namespace us
