#include "engine/config.h"

#include <bit>

#include "core/format.h"
#include "targets/format.h"
#include "targets/registry.h"

namespace us {

namespace {

using nlohmann::json;

[[noreturn]] void refuse(const std::string &message) {
    throw ConfigError("server-start", "configuration: " + message);
}

template <typename T> T get(const json &object, const char *key) {
    auto found = object.find(key);
    if (found == object.end()) refuse(std::string(key) + " is missing");
    return found->get<T>();
}

Geometry read_geometry(const json &from) {
    Geometry g;
    g.logical_block = get<uint32_t>(from, "logicalBlockBytes");
    g.physical_block = get<uint32_t>(from, "physicalBlockBytes");
    g.io_min = get<uint64_t>(from, "ioMinBytes");
    g.io_opt = get<uint64_t>(from, "ioOptBytes");
    g.discard_granularity = get<uint64_t>(from, "discardGranularityBytes");
    g.max_discard = get<uint64_t>(from, "maxDiscardBytes");
    g.max_write_zeroes = get<uint64_t>(from, "maxWriteZeroesBytes");
    g.volatile_cache = get<bool>(from, "volatileCache");
    g.fua = get<bool>(from, "fua");
    g.rotational = get<bool>(from, "rotational");
    if (!std::has_single_bit(g.logical_block) || g.logical_block < US_SECTOR_BYTES || g.logical_block > 4096)
        refuse("logicalBlockBytes is not a power of two from 512 to 4096");
    return g;
}

RuntimeConfig read_runtime(const json &device, const json &from) {
    RuntimeConfig r;
    r.stack = from.value("stack", "");
    r.device = device.value("name", "");
    r.run_dir = from.value("runDir", "");
    r.state_dir = from.value("stateDir", "");
    r.boot_id = from.value("bootId", "");
    while (!r.boot_id.empty() && isspace(static_cast<unsigned char>(r.boot_id.back())))
        r.boot_id.pop_back();
    const json names = from.value("imageNames", json::object());
    for (const auto &[layer, named] : names.items())
        r.image_names[layer] = {get<std::string>(named, "name"), get<std::string>(named, "format")};
    r.blank = from.value("blank", std::vector<std::string>{});
    r.lock_wait_ms = from.value("lockWaitMs", r.lock_wait_ms);
    r.clean_after_ms = from.value("cleanAfterMs", r.clean_after_ms);
    return r;
}

LayerConfig read_layer(const json &from, uint32_t index, const json &paths, bool direct_preferred) {
    LayerConfig layer;
    layer.name = get<std::string>(from, "name");
    layer.index = index;
    layer.size = get<uint64_t>(from, "sizeBytes");
    layer.read_only = get<bool>(from, "readOnly");
    layer.children = get<std::vector<uint32_t>>(from, "children");
    layer.geometry = read_geometry(get<json>(from, "geometry"));
    layer.params = from.value("params", json::object());
    layer.path = paths.value(layer.name, "");
    layer.direct_preferred = direct_preferred;
    if (layer.size == 0 || layer.size % layer.geometry.logical_block != 0 || layer.size > INT64_MAX)
        refuse("the size of layer \"" + layer.name + "\" is not a positive multiple of its block size");
    if (layer.children.size() > US_MAX_CHILDREN) refuse("layer \"" + layer.name + "\" has too many members");
    return layer;
}

// Levels from each layer down, itself included. Members come behind their parents, so they are known first.
std::vector<uint32_t> depths(const std::vector<std::unique_ptr<Target>> &targets) {
    std::vector<uint32_t> depth(targets.size(), 1);
    for (size_t i = targets.size(); i-- > 0;)
        for (uint32_t child : targets[i]->config().children)
            depth[i] = std::max(depth[i], depth[child] + 1);
    return depth;
}

// Whatever is aligned to this layer's blocks must be aligned to the child's: the media take nothing else.
void check_alignment(const DeviceConfig &config, uint32_t index, const us_link &link) {
    const LayerConfig &layer = config.targets[index]->config(), &child = config.targets[link.layer]->config();
    uint32_t block = child.geometry.logical_block;
    if (block > layer.geometry.logical_block || link.start % block != 0)
        refuse("layer \"" + layer.name + "\" is not aligned to the blocks of its member \"" + child.name +
               "\"");
}

void fill_layer(DeviceConfig &config, uint32_t index) {
    Target &target = *config.targets[index];
    const LayerConfig &layer = target.config();
    us_table &table = config.table;
    if (table.nr_links + layer.children.size() > US_MAX_LINKS) refuse("too many members in all");
    if ((target.leaf() != nullptr) != layer.children.empty())
        refuse("layer \"" + layer.name + "\" must " + (target.leaf() ? "not " : "") + "have members");

    us_layer &out = table.layers[index];
    out.size = layer.size;
    out.type = static_cast<us_u16>(target.core_type());
    out.first_link = static_cast<us_u16>(table.nr_links);
    out.nr_children = static_cast<us_u16>(layer.children.size());
    std::vector<uint64_t> sizes;
    for (uint32_t child : layer.children) {
        table.links[table.nr_links++].layer = child;
        sizes.push_back(config.targets[child]->config().size);
    }
    target.fill(out, &table.links[out.first_link], sizes);
    for (uint32_t c = 0; c < out.nr_children; c++)
        check_alignment(config, index, table.links[out.first_link + c]);
    if (target.core_type() == US_TYPE_MIRROR) config.has_mirror = true;
    if (target.handler()) config.has_handler = true;
}

// As many words for each as it wants, or its share.
void share_words(DeviceConfig &config) {
    uint32_t formats = 0, first = 0;
    for (const auto &target : config.targets)
        formats += target->format() != nullptr;
    if (formats == 0) return;
    config.has_format = true;
    for (const auto &target : config.targets) {
        const Format *format = target->format();
        if (!format) continue;
        uint64_t share = std::bit_floor(uint64_t{US_MAX_WORDS} / formats);
        uint64_t words = std::min(std::bit_ceil(std::max<uint64_t>(format->wanted_words(), 1)), share);
        us_layer &layer = config.table.layers[target->config().index];
        layer.param[US_FORMAT_PLACE] = first | uint64_t(std::countr_zero(words)) << 32;
        layer.param[US_FORMAT_CHILDREN] = format->unit_child() | format->flush_children() << 8;
        first += static_cast<uint32_t>(words);
    }
}

uint64_t hash_table(const us_table &table) {
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a
    auto bytes = reinterpret_cast<const unsigned char *>(&table);
    for (size_t i = 0; i < sizeof table; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash;
}

DeviceConfig read(const json &from) {
    const json device = get<json>(from, "table");
    const json runtime = from.value("runtime", json::object());
    const json paths = runtime.value("paths", json::object());
    bool direct_preferred = device.value("frontend", "") == "ublk";

    DeviceConfig config;
    config.runtime = read_runtime(device, runtime);
    const json layers = get<json>(device, "layers");
    if (layers.empty() || layers.size() > US_MAX_LAYERS) refuse("there must be 1 to 64 layers");
    for (uint32_t i = 0; i < layers.size(); i++) {
        LayerConfig layer = read_layer(layers[i], i, paths, direct_preferred);
        for (uint32_t child : layer.children)
            if (child <= i || child >= layers.size())
                refuse("layer \"" + layer.name + "\" has a member out of order");
        config.types.push_back(get<std::string>(layers[i], "type"));
        config.targets.push_back(make_target(config.types.back(), std::move(layer)));
    }
    config.table.nr_layers = static_cast<us_u32>(layers.size());
    for (uint32_t i = 0; i < layers.size(); i++)
        fill_layer(config, i);
    share_words(config);

    std::vector<uint32_t> depth = depths(config.targets);
    for (const json &entry : device.value("exports", json::array())) {
        Export e;
        if (entry.contains("name") && entry["name"].is_string()) e.name = entry["name"];
        e.root = get<uint32_t>(entry, "root");
        e.read_only = entry.value("readOnly", false);
        if (e.root >= layers.size()) refuse("an export names a layer that does not exist");
        if (depth[e.root] > US_MAX_DEPTH) refuse("the layers are nested more than 8 deep");
        config.exports.push_back(std::move(e));
    }
    config.table_hash = hash_table(config.table);
    return config;
}

} // namespace

DeviceConfig read_config(const json &config) {
    try {
        return read(config);
    } catch (const json::exception &error) {
        refuse(error.what());
    }
}

} // namespace us
