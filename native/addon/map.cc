#include "addon/map.h"

#include <atomic>
#include <bit>
#include <memory>

#include <nlohmann/json.hpp>

#include "core/walk.h"
#include "engine/config.h"

namespace us::addon {

namespace {

using nlohmann::json;

std::atomic<uint64_t> walks{0};

us_live live_words(const DeviceConfig &config, const json &overrides) {
    us_live live{};
    for (uint32_t i = 0; i < config.table.nr_layers; i++) {
        us_live_layer &words = live.layers[i];
        words.readable = words.writable = ~0u;
        us_type type = config.targets[i]->core_type();
        json own = overrides.value(config.targets[i]->config().name, json::object());
        if (type == US_TYPE_INSTRUMENT) {
            words.gate = own.value("looks", 0u);
            words.window_start = own.value("windowStart", uint64_t{0});
            words.window_end = own.value("windowEnd", UINT64_MAX);
        }
        if (type != US_TYPE_MIRROR) continue;
        auto all = static_cast<uint32_t>((uint64_t{1} << config.table.layers[i].nr_children) - 1);
        words.readable = own.value("readable", all);
        words.writable = own.value("writable", all);
        words.gate = own.value("open", true) ? US_LIVE_WRITE_OPEN : 0;
        if (own.value("unrecorded", false)) words.gate |= US_LIVE_UNRECORDED;
        words.window_start = own.value("windowStart", uint64_t{0});
        words.window_end = own.value("windowEnd", uint64_t{0});
    }
    return live;
}

// live.NAME of a format: { unitBytes, clean, units: [[unit, place, kind], …] }, kind as in core/format.h.
void tell_words(const DeviceConfig &config, uint32_t layer, const json &asked, us_live &live,
                us_words &words) {
    const json all = asked.value("live", json::object());
    json own = all.value(config.targets[layer]->config().name, json::object());
    us_live_layer &of = live.layers[layer];
    of.gate = (own.contains("units") ? US_LIVE_MAP_OPEN : 0) |
              (own.value("clean", false) ? US_LIVE_TABLES_CLEAN : 0);
    of.window_start = static_cast<us_u64>(std::countr_zero(own.value("unitBytes", uint64_t{65536})));
    uint64_t place = config.table.layers[layer].param[US_FORMAT_PLACE], bits = place >> 32;
    for (const json &unit : own.value("units", json::array())) {
        uint64_t number = unit.at(0);
        us_u64 &word = words.word[static_cast<uint32_t>(place) + (number & ((uint64_t{1} << bits) - 1))];
        word = us_format_word(number >> bits, unit.at(1), unit.at(2));
    }
}

json pieces_of(const us_table &table, const us_live &live, const us_words *words, const json &request) {
    us_walk walk{};
    us_walk_begin(&walk, request.at("root"), request.at("op"), request.at("offset"), request.at("length"));
    walks++;
    json pieces = json::array();
    us_piece piece;
    for (;;) {
        us_walk_result result = us_walk_next(&walk, &table, &live, words, &piece);
        if (result == US_WALK_END) return pieces;
        if (result == US_WALK_BAD) return nullptr;
        int redirected = result == US_WALK_REDIRECT;
        pieces.push_back({piece.layer, piece.offset, piece.length, piece.buffer, redirected});
    }
}

} // namespace

std::string map_requests(const std::string &question) {
    json asked = json::parse(question);
    DeviceConfig config = read_config({{"table", asked.at("device")}});
    us_live live = live_words(config, asked.value("live", json::object()));
    auto words = std::make_unique<us_words>();
    for (uint32_t i = 0; i < config.table.nr_layers; i++)
        if (config.table.layers[i].type == US_TYPE_FORMAT) tell_words(config, i, asked, live, *words);
    json pieces = json::array();
    for (const json &request : asked.at("requests"))
        pieces.push_back(pieces_of(config.table, live, words.get(), request));
    return json{{"walks", walks.load()}, {"pieces", pieces}}.dump();
}

Napi::Value map(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    std::string message, code = "bad-request";
    try {
        return Napi::String::New(env, map_requests(info[0].As<Napi::String>()));
    } catch (const ConfigError &error) {
        message = error.what();
        code = error.code;
    } catch (const json::exception &error) {
        message = error.what();
    }
    Napi::Error error = Napi::Error::New(env, message);
    error.Set("code", Napi::String::New(env, code));
    throw error;
}

} // namespace us::addon
