#include "stacks.h"

#include "core/mirror.h"

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
        std::string name(1, static_cast<char>('a' + stack_.disks.size()));
        stack_.config["runtime"]["paths"][name] = "/disks/" + name;
        stack_.disks.push_back(name);
        stack_.disk_bytes.push_back(bytes);
        return add("file", name, bytes, {}, json::object());
    }

    Stack done() {
        stack_.bytes = stack_.config["table"]["layers"][0]["sizeBytes"];
        return std::move(stack_);
    }

  private:
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
    return all;
}

} // namespace

const std::vector<Stack> &stacks() {
    static const std::vector<Stack> all = build();
    return all;
}
