#include "snapshot_clients.h"

#include <nlohmann/json.hpp>

#include "engine/graph_impl.h"
#include "trace.h"

using nlohmann::json;

SnapshotClients::SnapshotClients(Kernel &kernel, us::Graph &graph, uint64_t &next_tag)
    : kernel_(kernel), graph_(graph), next_tag_(next_tag) {
    for (const auto &target : graph.impl().targets) {
        const us::LayerConfig &layer = target->config();
        if (target->format() && !layer.read_only && !layer.params.value("dataFile", false))
            layers_.push_back(layer.name);
    }
}

void SnapshotClients::issue(uint64_t seed) {
    Prng prng(seed);
    if (layers_.empty() || !idle()) return;
    const std::string &layer = layers_[prng.below(layers_.size())];
    json list = graph_.snapshots(layer, {{"verb", "list"}});
    if (!list.contains("snapshots")) return; // it could not be opened
    const json &there = list["snapshots"];
    json request = {{"verb", "create"}, {"name", "tag" + std::to_string(next_tag_++)}};
    if (there.size() >= MOST || (!there.empty() && prng.one_in(2)))
        request = {{"verb", "delete"}, {"name", there[prng.below(there.size())]["name"]}};
    json answer = graph_.snapshots(layer, request);
    STEP("snapshot of \"%s\": %s", layer.c_str(), request.dump().c_str());
    if (!answer.contains("number")) fail("snapshots are refused: %s", answer.dump().c_str());
    begun_.push_back({layer, request.dump(), request["name"], answer["number"]});
    note_doubt(begun_.back());
}

void SnapshotClients::note_doubt(const Change &change) {
    for (const auto &target : graph_.impl().targets) {
        if (!target->handler() || graph_.impl().troubles.contains(target->config().index)) continue;
        json status = target->handler()->status();
        for (const json &member : status.value("members", json::array()))
            if (member.value("state", "in-sync") != "in-sync")
                kernel_.world.snapshots.of_doubt.insert(change.layer + "/" + change.tag);
    }
}

bool SnapshotClients::idle() {
    std::erase_if(begun_, [&](const Change &change) {
        json result = graph_.snapshots(change.layer, {{"verb", "result"}, {"number", change.number}});
        if (result.value("state", "") == "under-way") return false;
        STEP("snapshot of \"%s\": %s", change.layer.c_str(), result.dump().c_str());
        if (result.contains("error") && kernel_.injected == 0 && !kernel_.world.narrow)
            fail("a change of snapshots failed, and nothing had gone wrong: %s: %s", change.what.c_str(),
                 result.dump().c_str());
        note_doubt(change);
        return true;
    });
    return begun_.empty();
}
