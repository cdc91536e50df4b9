#include "stacks.h"

#include "core/mirror.h"
#include "sectors.h"

namespace {

using nlohmann::json;

// Mirrors balance and copy in units of this: large enough for all that they do, small enough to be copied
// thousands of times a second.
constexpr uint64_t UNIT = 1 << US_MIRROR_BALANCE_SHIFT;
constexpr uint64_t SIZE = 9 * UNIT; // two whole windows of a resync, and a piece of one

class Builder {
  public:
    Builder(std::string layer, std::string name) {
        stack_.layer = std::move(layer);
        stack_.name = std::move(name);
        stack_.config = {{"table",
                          {{"name", "torture"},
                           {"frontend", "nbd"},
                           {"layers", json::array()},
                           {"exports", json::array({{{"name", "torture"}, {"root", 0}}})}}},
                         {"runtime",
                          {{"stack", "torture"},
                           {"runDir", "/run"},
                           {"stateDir", "/state"},
                           {"bootId", ""},
                           {"paths", json::object()},
                           {"blank", json::array()},
                           {"cleanAfterMs", 1}}}};
    }

    Builder &layer(const std::string &type, uint64_t bytes, std::vector<uint32_t> children,
                   json params = json::object()) {
        json &layers = stack_.config["table"]["layers"];
        return add(type, type + std::to_string(layers.size()), bytes, std::move(children), std::move(params));
    }

    Builder &file(uint64_t bytes) {
        add_disk({.bytes = bytes});
        return add("file", stack_.disks.back().name, bytes, {}, json::object());
    }
    Builder &growing_file(uint64_t most) {
        add_disk({.bytes = most, .grows = true});
        return add("file", stack_.disks.back().name, most, {}, {{"grows", true}});
    }
    Builder &backing_file(uint64_t bytes) {
        add_disk({.bytes = bytes, .backing = true});
        add("file", stack_.disks.back().name, bytes, {}, json::object());
        stack_.config["table"]["layers"].back()["readOnly"] = true;
        return *this;
    }
    // Images are told at times that there is no room.
    Builder &narrow() {
        stack_.narrow = true;
        return *this;
    }

    Stack done() {
        stack_.bytes = stack_.config["table"]["layers"][0]["sizeBytes"];
        for (const json &layer : stack_.config["table"]["layers"])
            stack_.keeps_discarded |= layer["params"].value("version", 3) == 2;
        return std::move(stack_);
    }

  private:
    void add_disk(StackDisk disk) {
        disk.name = std::string(1, static_cast<char>('a' + stack_.disks.size()));
        stack_.config["runtime"]["paths"][disk.name] = "/disks/" + disk.name;
        stack_.disks.push_back(disk);
    }

    Builder &add(const std::string &type, const std::string &name, uint64_t bytes,
                 std::vector<uint32_t> children, json params) {
        stack_.config["table"]["layers"].push_back({{"name", name},
                                                    {"type", type},
                                                    {"sizeBytes", bytes},
                                                    {"readOnly", false},
                                                    {"children", std::move(children)},
                                                    {"params", std::move(params)},
                                                    {"geometry",
                                                     {{"logicalBlockBytes", 512},
                                                      {"physicalBlockBytes", 512},
                                                      {"ioMinBytes", 512},
                                                      {"ioOptBytes", 0},
                                                      {"discardGranularityBytes", 512},
                                                      {"maxDiscardBytes", 1 << 30},
                                                      {"maxWriteZeroesBytes", 1 << 30},
                                                      {"volatileCache", true},
                                                      {"fua", true},
                                                      {"rotational", false}}}});
        return *this;
    }

    Stack stack_;
};

// Of small disks with small clusters, so that tables change often, and of few tables in memory.
json image(uint64_t cluster_bytes, json more = json::object()) {
    json params = {{"create", "ifBlank"}, {"clusterBytes", cluster_bytes}, {"cacheBytes", 0}};
    params.update(more);
    return params;
}

void add_images(std::vector<Stack> &all) {
    constexpr uint64_t DISK = 96 * 512, ROOM = 6 * DISK;
    auto add = [&](const char *name) -> Builder { return {"qcow2", name}; };
    all.push_back(add("image of clusters of 512").layer("qcow2", DISK, {1}, image(512)).file(ROOM).done());
    all.push_back(add("image of clusters of 1 KiB on a file that grows")
                      .layer("qcow2", DISK, {1}, image(1024))
                      .growing_file(ROOM)
                      .done());
    all.push_back(add("image with little room")
                      .layer("qcow2", DISK, {1}, image(512))
                      .file(DISK + DISK / 2)
                      .narrow()
                      .done());
    all.push_back(add("image above a backing file")
                      .layer("qcow2", DISK, {1, 2}, image(1024, {{"backing", true}}))
                      .file(ROOM)
                      .backing_file(DISK - 5 * SECTOR)
                      .done());
    all.push_back(add("image with subclusters")
                      .layer("qcow2", DISK, {1}, image(16384, {{"extendedL2", true}}))
                      .growing_file(10 * DISK)
                      .narrow()
                      .done());
    all.push_back(add("image with subclusters above a backing file")
                      .layer("qcow2", DISK, {1, 2}, image(16384, {{"extendedL2", true}, {"backing", true}}))
                      .file(10 * DISK)
                      .backing_file(DISK / 2)
                      .narrow()
                      .done());
    all.push_back(add("image with a data file")
                      .layer("qcow2", DISK, {1, 2}, image(1024, {{"dataFile", true}}))
                      .file(ROOM)
                      .growing_file(DISK)
                      .done());
    all.push_back(add("image of version 2 with places for all")
                      .layer("qcow2", DISK, {1}, image(512, {{"version", 2}, {"preallocation", "metadata"}}))
                      .file(ROOM)
                      .done());
    all.push_back(add("image on a mirror")
                      .layer("qcow2", DISK, {1}, image(512))
                      .layer("mirror", ROOM, {2, 3})
                      .file(ROOM)
                      .file(ROOM)
                      .done());
    all.push_back(add("mirror of an image and a file")
                      .layer("mirror", DISK, {1, 2})
                      .layer("qcow2", DISK, {3}, image(512))
                      .file(DISK)
                      .file(ROOM)
                      .done());
    all.push_back(add("image on a stripe")
                      .layer("qcow2", DISK, {1}, image(2048))
                      .layer("stripe", ROOM, {2, 3}, {{"chunkBytes", UNIT / 2}})
                      .file(ROOM / 2)
                      .file(ROOM / 2)
                      .done());
}

std::vector<Stack> build() {
    const json chunk = {{"chunkBytes", UNIT / 2}};
    std::vector<Stack> all;
    auto add = [&](const char *layer, const char *name) -> Builder { return {layer, name}; };
    all.push_back(add("mirror", "mirror of two").layer("mirror", SIZE, {1, 2}).file(SIZE).file(SIZE).done());
    all.push_back(add("mirror", "mirror of three")
                      .layer("mirror", SIZE, {1, 2, 3})
                      .file(SIZE)
                      .file(SIZE)
                      .file(SIZE)
                      .done());
    all.push_back(add("mirror", "mirror of a file and a stripe")
                      .layer("mirror", SIZE, {1, 2})
                      .file(SIZE)
                      .layer("stripe", SIZE, {3, 4}, chunk)
                      .file(SIZE / 2)
                      .file(SIZE / 2)
                      .done());
    all.push_back(add("mirror", "stripe of mirrors")
                      .layer("stripe", SIZE, {1, 2}, chunk)
                      .layer("mirror", SIZE / 2, {3, 4})
                      .layer("mirror", SIZE / 2, {5, 6})
                      .file(SIZE / 2)
                      .file(SIZE / 2)
                      .file(SIZE / 2)
                      .file(SIZE / 2)
                      .done());
    all.push_back(add("mirror", "mirror of mirrors")
                      .layer("mirror", SIZE, {1, 2})
                      .layer("mirror", SIZE, {3, 4})
                      .file(SIZE)
                      .file(SIZE)
                      .file(SIZE)
                      .done());
    all.push_back(add("stripe", "stripe of two")
                      .layer("stripe", SIZE, {1, 2}, chunk)
                      .file(SIZE / 2)
                      .file(SIZE / 2)
                      .done());
    all.push_back(
        add("linear", "linear of two").layer("linear", SIZE, {1, 2}).file(4 * UNIT).file(5 * UNIT).done());
    add_images(all);
    return all;
}

} // namespace

const std::vector<Stack> &stacks() {
    static const std::vector<Stack> all = build();
    return all;
}
