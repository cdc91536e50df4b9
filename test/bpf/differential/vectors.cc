#include "vectors.h"

#include <fstream>
#include <map>

#include <nlohmann/json.hpp>

namespace us::differential {

namespace {

using nlohmann::json;

const std::map<std::string, us_type> TYPES = {
    {"null", US_TYPE_NULL},           {"zero", US_TYPE_NULL},
    {"file", US_TYPE_FILE},           {"memory", US_TYPE_FILE},
    {"block", US_TYPE_BLOCK},         {"linear", US_TYPE_LINEAR},
    {"stripe", US_TYPE_STRIPE},       {"mirror", US_TYPE_MIRROR},
    {"partition", US_TYPE_PARTITION}, {"instrument", US_TYPE_INSTRUMENT},
    {"format", US_TYPE_FORMAT}};
const std::map<std::string, us_op> OPS = {{"read", US_OP_READ},   {"write", US_OP_WRITE},
                                          {"flush", US_OP_FLUSH}, {"discard", US_OP_DISCARD},
                                          {"cache", US_OP_CACHE}, {"writeZeroes", US_OP_WRITE_ZEROES}};

uint32_t set_of(const json &members) {
    uint32_t set = 0;
    for (uint32_t member : members)
        set |= 1u << member;
    return set;
}

Layer read_layer(const json &from) {
    Layer layer;
    layer.type = TYPES.at(from.at("type"));
    layer.size = from.at("sizeBytes");
    layer.chunk = from.value("chunkBytes", uint64_t{0});
    layer.start = from.value("offsetBytes", uint64_t{0});
    layer.unit = from.value("unitBytes", uint64_t{0});
    layer.word_bits = from.value("wordBits", 0u);
    layer.children = from.value("children", std::vector<uint32_t>{});
    if (layer.type == US_TYPE_MIRROR)
        layer.words.readable = layer.words.writable =
            static_cast<uint32_t>((uint64_t{1} << layer.children.size()) - 1);
    if (layer.type == US_TYPE_INSTRUMENT) layer.words.window_end = UINT64_MAX;
    return layer;
}

void read_words(const json &from, Words &words) {
    if (from.contains("readable")) words.readable = set_of(from["readable"]);
    if (from.contains("writable")) words.writable = set_of(from["writable"]);
    words.open = from.value("open", true);
    words.unrecorded = from.value("unrecorded", false);
    for (const json &op : from.value("looks", json::array()))
        words.looks |= 1u << OPS.at(op);
    if (from.contains("window")) {
        words.window_start = from["window"].at(0);
        words.window_end = from["window"].at(1);
    }
}

// units: [unit, place, "shared" | "own" | "shines"]
void read_live(const json &from, Layer &layer) {
    read_words(from, layer.words);
    layer.clean = from.value("clean", false);
    const std::map<std::string, uint32_t> kinds = {{"shared", 1}, {"own", 2}, {"shines", 3}};
    for (const json &unit : from.value("units", json::array()))
        layer.units[unit.at(0)] = {unit.at(1), kinds.at(unit.at(2))};
}

} // namespace

std::vector<Vector> read_vectors(const std::string &file) {
    std::vector<Vector> out;
    std::ifstream stream(file);
    const json all = json::parse(stream);
    for (const json &one : all.at("cases")) {
        Stack stack;
        for (const json &layer : one.at("layers"))
            stack.push_back(read_layer(layer));
        const json live = one.value("live", json::object()); // by value: what items() sees has to outlive it
        for (const auto &[index, words] : live.items())
            read_live(words, stack.at(std::stoul(index)));
        uint32_t first_word = 0;
        place_words(stack, first_word);
        for (const json &ask : one.at("asks")) {
            Request request{ask.value("layer", 0u), OPS.at(ask.at("op")), ask.value("offset", uint64_t{0}),
                            ask.value("length", uint64_t{0})};
            std::vector<Piece> pieces;
            for (const json &p : ask.at("pieces"))
                pieces.push_back(
                    {p.at(0), p.at(1), p.at(2), p.at(3), p.size() > 4 && p.at(4) == "redirected"});
            std::string name = file + ": " + one.at("name").get<std::string>();
            out.push_back({name, stack, request, pieces});
        }
    }
    return out;
}

} // namespace us::differential
