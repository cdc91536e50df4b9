#include "engine/graph.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "engine/extents.h"
#include "engine/graph_impl.h"
#include "engine/log.h"
#include "engine/queue_impl.h"
#include "engine/status.h"
#include "targets/format.h"
#include "targets/instrument.h"

namespace us {

namespace {

void append_leaves(const Graph::Impl &graph, uint32_t layer, std::vector<const Leaf *> &out) {
    if (graph.leaves[layer]) out.push_back(graph.leaves[layer]);
    for (uint32_t child : graph.targets[layer]->config().children)
        append_leaves(graph, child, out);
}

} // namespace

Graph::Impl::Impl(const nlohmann::json &json)
    : config(read_config(json)), targets(config.targets), sync_orders(targets.size()),
      own_live_(std::make_unique<us_live>()) {
    for (auto &target : targets)
        leaves.push_back(target->leaf());
    errors.resize(targets.size());
    above_format.resize(targets.size());
    for (size_t i = targets.size(); i-- > 0;) {
        above_format[i] = targets[i]->format() != nullptr;
        for (uint32_t child : targets[i]->config().children)
            above_format[i] = above_format[i] || above_format[child];
    }
    live = own_live_.get();
    for (us_live_layer &layer : live->layers)
        layer.readable = layer.writable = ~0u;
}

Graph::Impl::~Impl() {
    offload.reset(); // before what its work may touch
    if (state_dir >= 0) ::close(state_dir);
}

void Graph::Impl::add_queue(uint32_t index, std::shared_ptr<QueueCounters> counters) {
    std::lock_guard lock(mutex);
    queues[index] = std::move(counters);
}

void Graph::Impl::queue_ends(const Queue &queue) {
    std::lock_guard lock(mutex);
    if (background == &queue) background = nullptr;
}

void Graph::Impl::on_background_queue(const std::function<void(Executor &)> &fn) {
    std::lock_guard lock(mutex);
    if (Queue *queue = background) queue->post([queue, fn] { fn(queue->impl().executor); });
}

Graph::Graph(const nlohmann::json &config) : impl_(std::make_unique<Impl>(config)) {}
Graph::~Graph() = default;

void Graph::open(uint32_t nr_queues, uint32_t depth) {
    impl_->open_leaves();
    if (impl_->config.has_handler) {
        const RuntimeConfig &runtime = impl_->config.runtime;
        impl_->state_dir = ::open(runtime.state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (impl_->state_dir < 0)
            throw ConfigError("io-error", "cannot open " + runtime.state_dir + ": " + strerror(errno));
        impl_->offload = std::make_unique<Offload>();
        uint32_t child_slots = impl_->nr_child_slots();
        impl_->live_file = std::make_unique<LiveFile>(
            runtime.run_dir, runtime.boot_id, impl_->config.table_hash, nr_queues, depth, child_slots);
        impl_->live = &impl_->live_file->live();
        for (us_live_layer &layer : impl_->live->layers)
            layer = {~0u, ~0u, 0, 0, 0, 0};
        if (impl_->config.has_format) impl_->words = std::make_unique<Words>();
        impl_->load_handlers(child_slots);
        impl_->live_file->commit();
    }
    impl_->check_exports();
}

void Graph::make_ready(Queue &queue) {
    if (!impl_->live_file) return;
    std::optional<ConfigError> trouble;
    Impl::run(queue, impl_->make_ready(queue.impl().executor, trouble));
    if (trouble) throw *trouble;
    impl_->check_exports();
}

void Graph::start_background(Queue &queue) {
    {
        std::lock_guard lock(impl_->mutex);
        impl_->background = &queue;
    }
    for (auto &target : impl_->targets)
        if (Handler *handler = target->handler()) handler->start_background(queue.impl().executor);
}

// From the exports down: what a format writes as it ends may be another one's to keep.
void Graph::Impl::shut_formats(Graph &graph) {
    std::unique_ptr<Queue> queue;
    for (uint32_t i = 0; i < targets.size(); i++) {
        Format *format = targets[i]->format();
        if (!format || troubles.contains(i)) continue;
        if (!queue) queue = std::make_unique<Queue>(graph, QueueOptions{.depth = 1});
        int error = 0;
        auto shut = [](Format &format, Queue &queue, int &error) -> Task<void> {
            error = co_await format.shut(queue.impl().executor);
        };
        run(*queue, shut(*format, *queue, error));
        if (error == 0) continue;
        std::string text = "layer \"" + targets[i]->config().name +
                           "\": its tables are not all written: " + strerror(-error) +
                           "; the next server goes on with them, unless the machine is restarted first";
        log(Level::error, text);
        troubles.emplace(i, ConfigError("io-error", text, targets[i]->config().name));
    }
}

void Graph::close() {
    std::vector<const Leaf *> unflushed;
    const auto before = impl_->troubles;
    impl_->shut_formats(*this);
    // What they have not written is missing on all that lies below, as far as a mirror above is concerned.
    for (const auto &[layer, trouble] : impl_->troubles)
        if (!before.contains(layer)) append_leaves(*impl_, layer, unflushed);
    for (uint32_t i = 0; i < impl_->targets.size(); i++)
        if (Handler *handler = impl_->targets[i]->handler(); handler && !impl_->troubles.contains(i))
            handler->finish();
    impl_->offload.reset();
    for (uint32_t i = 0; i < impl_->leaves.size(); i++) {
        Leaf *leaf = impl_->leaves[i];
        if (!leaf || impl_->troubles.contains(i)) continue;
        if (int error = leaf->sync_now()) {
            unflushed.push_back(leaf);
            log_io_error(leaf->config().name, leaf->path(), "flush", 0, 0, -error);
        }
        leaf->close();
    }
    for (auto &target : impl_->targets)
        if (Handler *handler = target->handler()) handler->close(unflushed);
}

bool Graph::prefers_zero_copy() const {
    for (Leaf *leaf : impl_->leaves)
        if (leaf && !leaf->zero_copy()) return false;
    for (const auto &target : impl_->targets) {
        if (Instrument *instrument = target->instrument(); instrument && instrument->needs_all_bytes())
            return false;
    }
    return true;
}

const us_table &Graph::table() const {
    return impl_->config.table;
}
us_live &Graph::live() {
    return *impl_->live;
}
const us_words *Graph::words() const {
    return impl_->words ? impl_->words->get() : nullptr;
}
bool Graph::durable_by_flush(uint32_t layer) const {
    return impl_->above_format[layer];
}
const std::vector<Export> &Graph::exports() const {
    return impl_->config.exports;
}
const Geometry &Graph::geometry(uint32_t layer) const {
    return impl_->targets[layer]->config().geometry;
}
const std::string &Graph::name(uint32_t layer) const {
    return impl_->targets[layer]->config().name;
}
uint64_t Graph::size(uint32_t layer) const {
    return impl_->config.table.layers[layer].size;
}

std::vector<Extent> Graph::extents(uint32_t layer, uint64_t offset, uint64_t length, uint32_t max_extents) {
    return find_extents(*impl_, layer, offset, length, max_extents);
}

void Graph::count_error(uint32_t layer, int error) {
    std::lock_guard lock(impl_->mutex);
    impl_->errors[layer][error]++;
}

void Graph::sync_failed(uint32_t layer) {
    impl_->leaves[layer]->sync_failed();
}

bool Graph::orders_flushes() const {
    return std::ranges::any_of(impl_->leaves,
                               [](const Leaf *leaf) { return leaf && leaf->remembers_sync_failures(); });
}

nlohmann::json Graph::status() const {
    return status_of(*impl_);
}

std::string Graph::set(const std::string &layer, const nlohmann::json &params) {
    for (auto &target : impl_->targets) {
        if (target->config().name != layer || !target->instrument()) continue;
        try {
            target->instrument()->set(params);
            return {};
        } catch (const ConfigError &error) {
            return error.what();
        } catch (const nlohmann::json::exception &error) {
            return error.what();
        }
    }
    return "layer \"" + layer + "\" has nothing to set";
}

nlohmann::json Graph::snapshots(const std::string &layer, const nlohmann::json &request) {
    auto refused = [](const char *code, const std::string &message) {
        return nlohmann::json{{"error", {{"code", code}, {"message", message}}}};
    };
    for (auto &target : impl_->targets) {
        if (target->config().name != layer || !target->format()) continue;
        std::string trouble = impl_->trouble_of(target->config().index);
        if (!trouble.empty()) return refused("snapshot-refused", trouble);
        try {
            return target->format()->snapshots(request);
        } catch (const nlohmann::json::exception &error) {
            return refused("bad-request", error.what());
        }
    }
    return refused("not-an-image", "layer \"" + layer + "\" has no snapshots");
}

std::string Graph::readd(const std::string &layer, const std::string &member) {
    for (auto &target : impl_->targets) {
        if (target->config().name != layer || !target->handler()) continue;
        // One that could not be loaded has no members to speak of; a mirror above it may be served without.
        std::string trouble = impl_->trouble_of(target->config().index);
        return trouble.empty() ? target->handler()->readd(member) : trouble;
    }
    return "there is no mirror \"" + layer + "\"";
}

} // namespace us
