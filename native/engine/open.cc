// Opening a graph: leaves, then handlers from the leaves up, then the question whether every export can be
// served.
#include <cstring>

#include "engine/graph_impl.h"
#include "engine/log.h"
#include "targets/format.h"

namespace us {

namespace {

void append_leaves(const Graph::Impl &graph, uint32_t layer, std::vector<uint32_t> &out) {
    if (graph.leaves[layer]) out.push_back(layer);
    for (uint32_t child : graph.targets[layer]->config().children)
        append_leaves(graph, child, out);
}

// What names the content of a layer: of a handler its own identity, else that of everything below.
std::string identity_of(const Graph::Impl &graph, uint32_t layer) {
    Target &target = *graph.targets[layer];
    if (Handler *handler = target.handler()) return handler->identity();
    if (graph.leaves[layer]) return graph.leaves[layer]->identity();
    std::string identity;
    for (uint32_t child : target.config().children)
        identity += (identity.empty() ? "" : " + ") + identity_of(graph, child);
    return identity;
}

// A path names a leaf, and an image that lies on one. No tool knows the others.
void name_as_image(const Graph::Impl &graph, uint32_t layer, MemberNow &member) {
    const Target &target = *graph.targets[layer];
    const auto &names = graph.config.runtime.image_names;
    if (auto named = names.find(target.config().name); named != names.end()) {
        member.image_name = named->second.name;
        member.image_format = named->second.format;
        return;
    }
    uint32_t holder = layer;
    if (graph.targets[layer]->format() && graph.leaves[target.config().children[0]])
        holder = target.config().children[0];
    bool on_path = graph.leaves[holder] && !graph.leaves[holder]->path().empty();
    member.image_name = on_path ? graph.leaves[holder]->path() : "ublk-stack:" + target.config().name;
    member.image_format = on_path && holder != layer ? graph.config.types[layer] : "raw";
}

} // namespace

// A leaf that cannot be opened is a trouble for now: a mirror above it may do without.
void Graph::Impl::open_leaves() {
    OpenContext context;
    context.boot_id = config.runtime.boot_id;
    context.lock_wait_ms = config.runtime.lock_wait_ms;
    context.notice = [](const std::string &text) { log(Level::info, text); };
    for (uint32_t i = 0; i < leaves.size(); i++) {
        if (!leaves[i]) continue;
        try {
            leaves[i]->open(context);
        } catch (const ConfigError &error) {
            leaves[i]->close();
            if (!config.has_mirror) throw;
            troubles.emplace(i, error);
        }
    }
}

std::string Graph::Impl::trouble_of(uint32_t layer) const {
    auto own = troubles.find(layer);
    if (own != troubles.end()) return own->second.what();
    if (targets[layer]->handler()) return {};
    for (uint32_t child : targets[layer]->config().children)
        if (std::string trouble = trouble_of(child); !trouble.empty()) return trouble;
    return {};
}

MemberNow Graph::Impl::member_now(uint32_t layer) const {
    MemberNow member;
    member.name = targets[layer]->config().name;
    member.single_leaf = leaves[layer] != nullptr;
    member.size = targets[layer]->config().size;
    member.block = targets[layer]->config().geometry.logical_block;
    name_as_image(*this, layer, member);
    member.trouble = trouble_of(layer);
    std::vector<uint32_t> below;
    append_leaves(*this, layer, below);
    for (uint32_t leaf : below)
        member.leaves.push_back(leaves[leaf]);
    if (!member.trouble.empty()) return member;

    member.identity = identity_of(*this, layer);
    member.blank_when_new = true;
    const std::vector<std::string> &created = config.runtime.blank;
    for (Leaf *leaf : member.leaves) {
        const LayerConfig &own = leaf->config();
        bool fresh =
            leaf->is_volatile() || std::find(created.begin(), created.end(), own.name) != created.end();
        // Being told so is not enough: the configuration may be older than the content.
        Extent all = fresh ? leaf->extent(0, own.size) : Extent{};
        bool zeros = all.length == own.size && (all.flags & EXTENT_ZERO);
        if (!fresh || !zeros) member.blank_when_new = false;
    }
    return member;
}

void Graph::Impl::load_handlers(uint32_t nr_child_slots) {
    uint32_t next_child_slots = 0;
    for (uint32_t i = static_cast<uint32_t>(targets.size()); i-- > 0;) {
        Handler *handler = targets[i]->handler();
        if (!handler) continue;
        HandlerContext context;
        context.live = &live->layers[i];
        context.words = words ? words->get() : nullptr;
        context.layer = config.table.layers[i];
        context.resync = &live_file->resync(i);
        context.inflight = &live_file->inflight();
        context.own_slots = live_file->background_slot(i);
        if (nr_child_slots != 0 && targets[i]->format()) {
            context.child_slots = live_file->child_slot(next_child_slots);
            context.nr_child_slots = CHILD_SLOTS;
            next_child_slots += CHILD_SLOTS;
        }
        context.predecessor = live_file->predecessor();
        for (uint32_t child : targets[i]->config().children)
            context.members.push_back(member_now(child));
        context.state_dir = state_dir;
        context.run_dir = config.runtime.run_dir;
        context.boot_id = config.runtime.boot_id;
        context.clean_after_ns = config.runtime.clean_after_ms * 1'000'000;
        context.notice = [](bool bad, const std::string &text) {
            log(bad ? Level::warn : Level::info, text);
        };
        context.run_offloaded = [this](const std::function<int()> &fn) { return offload->run(fn); };
        context.on_background_queue = [this](const std::function<void(Executor &)> &fn) {
            on_background_queue(fn);
        };
        try {
            handler->load(std::move(context));
        } catch (const ConfigError &error) {
            troubles.emplace(i, error);
        }
    }
}

void Graph::Impl::check_exports() const {
    for (const Export &entry : config.exports) {
        std::string trouble = trouble_of(entry.root);
        if (trouble.empty()) continue;
        // The deepest cause says most, and has the code and path of a leaf.
        for (auto it = troubles.rbegin(); it != troubles.rend(); ++it)
            if (trouble == it->second.what()) throw it->second;
        throw ConfigError("server-start", trouble);
    }
}

} // namespace us
