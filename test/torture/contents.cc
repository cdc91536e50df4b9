#include "contents.h"

#include <algorithm>
#include <cinttypes>

#include "core/map.h"
#include "engine/graph_impl.h"
#include "trace.h"

uint32_t Contents::child(uint32_t layer, uint32_t nth) const {
    const us_table &table = graph_.table();
    return table.links[table.layers[layer].first_link + nth].layer;
}

bool Contents::is_image(uint32_t layer) const {
    return graph_.impl().targets[layer]->format() != nullptr;
}

SectorList Contents::of(uint32_t layer, bool compare) {
    if (!graph_.impl().trouble_of(layer).empty()) return {}; // nobody reads it
    if (graph_.table().layers[layer].nr_children == 0) return of_leaf(layer);
    return is_image(layer) ? of_image(layer, compare) : of_mapping(layer, compare);
}

SectorList Contents::of_leaf(uint32_t layer) const {
    SectorList sectors(graph_.table().layers[layer].size / SECTOR);
    for (const Disk &disk : kernel_.world.disks)
        if (disk.name == graph_.name(layer)) std::copy_n(disk.cache.begin(), sectors.size(), sectors.begin());
    return sectors;
}

SectorList Contents::of_mapping(uint32_t layer, bool compare) {
    const us_table &table = graph_.table();
    const us_layer &self = table.layers[layer];
    std::vector<SectorList> children;
    for (uint32_t c = 0; c < self.nr_children; c++)
        children.push_back(of(child(layer, c), compare));
    SectorList sectors(self.size / SECTOR);
    for (uint64_t sector = 0; sector < sectors.size(); sector++) {
        us_step step = us_map(&table, &graph_.live(), nullptr, layer, US_OP_READ, sector * SECTOR, SECTOR);
        if (step.nr_children != 1) fail("layer %s cannot be read", graph_.name(layer).c_str());
        const SectorList &from = children[step.first_child];
        if (from.empty()) return {};
        sectors[sector] = from[step.offset / SECTOR];
    }
    if (compare && self.type == US_TYPE_MIRROR) compare_members(layer, children, sectors);
    return sectors;
}

void Contents::compare_members(uint32_t layer, const std::vector<SectorList> &members,
                               const SectorList &all) {
    for (uint32_t c = 0; c < members.size(); c++) {
        if (!(graph_.live().layers[layer].readable >> c & 1) || members[c].empty()) continue;
        for (uint64_t sector = 0; sector < all.size(); sector++)
            if (members[c][sector] != all[sector])
                fail("members in sync differ: sector %" PRIu64
                     " of \"%s\" is #%u in \"%s\" and #%u elsewhere",
                     sector, graph_.name(layer).c_str(), members[c][sector],
                     graph_.name(child(layer, c)).c_str(), all[sector]);
    }
}

// ---------------------------------------------------------------- images

ImageView Contents::view_of(uint32_t layer, SectorList base, bool with_kept) const {
    const std::string name = graph_.name(layer), below = graph_.name(child(layer, 0));
    uint64_t length = base.size() * SECTOR;
    for (const Disk &disk : kernel_.world.disks)
        if (disk.name == below) length = disk.length();
    auto kept = with_kept ? kernel_.world.run.find("qcow2-" + name) : nullptr;
    return {name, std::move(base), length, kept.get()};
}

SectorList Contents::of_image(uint32_t layer, bool compare) {
    SectorList base = of(child(layer, 0), compare);
    if (base.empty()) return {};
    ImageView view = view_of(layer, std::move(base), true);
    if (!view.is_there()) return {};
    const nlohmann::json &params = graph_.impl().targets[layer]->config().params;
    bool has_backing = params.value("backing", false), has_data = params.value("dataFile", false);
    SectorList backing, data;
    if (has_backing) backing = of(child(layer, 1), compare);
    if (has_data) data = of(child(layer, has_backing ? 2 : 1), compare);
    return view.disk(has_data ? &data : nullptr, backing);
}

bool Contents::check_images(bool leaks) {
    bool all_on_disk = true;
    for (uint32_t i = graph_.table().nr_layers; i-- > 0;) {
        if (!is_image(i) || !graph_.impl().trouble_of(i).empty()) continue;
        SectorList base = of(child(i, 0), false);
        if (base.empty()) continue;
        ImageView on_disk = view_of(i, base, false);
        if (!on_disk.is_there()) continue;
        ImageView with_kept = view_of(i, std::move(base), true);
        on_disk.check(leaks || with_kept.nr_kept() != 0);
        on_disk.check_snapshots(kernel_.world.snapshots);
        on_disk.leave();
        with_kept.check();
        all_on_disk &= with_kept.nr_kept() == 0;
    }
    return all_on_disk;
}
