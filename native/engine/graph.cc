#include "engine/graph.h"

#include "engine/extents.h"
#include "engine/graph_impl.h"
#include "engine/log.h"
#include "engine/status.h"

namespace us {

Graph::Impl::Impl(const nlohmann::json &json)
    : config(read_config(json)), targets(config.targets), own_live_(std::make_unique<us_live>()) {
    for (auto &target : targets)
        leaves.push_back(target->leaf());
    errors.resize(targets.size());
    live = own_live_.get();
    for (us_live_layer &layer : live->layers)
        layer.readable = layer.writable = ~0u;
    for (uint32_t i = 0; i < config.table.nr_layers; i++) {
        us_layer &layer = config.table.layers[i];
        if (layer.type != US_TYPE_MIRROR) continue;
        live->layers[i].readable = live->layers[i].writable =
            static_cast<uint32_t>((1ull << layer.nr_children) - 1);
        live->layers[i].gate = US_LIVE_WRITE_OPEN;
    }
}

void Graph::Impl::add_queue(uint32_t index, std::shared_ptr<QueueCounters> counters) {
    std::lock_guard lock(mutex);
    queues[index] = std::move(counters);
}

Graph::Graph(const nlohmann::json &config) : impl_(std::make_unique<Impl>(config)) {}
Graph::~Graph() = default;

void Graph::open(uint32_t, uint32_t) {
    OpenContext context;
    context.boot_id = impl_->config.runtime.boot_id;
    context.lock_wait_ms = impl_->config.runtime.lock_wait_ms;
    context.notice = [](const std::string &text) { log(Level::info, text); };
    for (Leaf *leaf : impl_->leaves)
        if (leaf) leaf->open(context);
}

void Graph::settle(Queue &) {}

void Graph::start_background(Queue &) {}

void Graph::close() {
    for (Leaf *leaf : impl_->leaves) {
        if (!leaf) continue;
        if (int error = leaf->sync_now())
            log_io_error(leaf->config().name, leaf->path(), "flush", 0, 0, -error);
        leaf->close();
    }
}

bool Graph::prefers_zero_copy() const {
    for (Leaf *leaf : impl_->leaves)
        if (leaf && !leaf->zero_copy()) return false;
    return true;
}

const us_table &Graph::table() const {
    return impl_->config.table;
}
us_live &Graph::live() {
    return *impl_->live;
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

nlohmann::json Graph::status() const {
    return status_of(*impl_);
}

std::string Graph::readd(const std::string &layer, const std::string &member) {
    return "layer \"" + layer + "\" has no member \"" + member + "\" to take back";
}

} // namespace us
