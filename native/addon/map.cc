#include "addon/map.h"

#include <atomic>

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

json pieces_of(const us_table &table, const us_live &live, const json &request) {
    us_walk walk{};
    us_walk_begin(&walk, request.at("root"), request.at("op"), request.at("offset"), request.at("length"));
    walks++;
    json pieces = json::array();
    us_piece piece;
    for (;;) {
        us_walk_result result = us_walk_next(&walk, &table, &live, &piece);
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
    json pieces = json::array();
    for (const json &request : asked.at("requests"))
        pieces.push_back(pieces_of(config.table, live, request));
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
