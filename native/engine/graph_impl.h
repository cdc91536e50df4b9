// The inside of a graph, for the engine's own files.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/config.h"
#include "engine/counters.h"
#include "engine/graph.h"

namespace us {

struct Graph::Impl {
    explicit Impl(const nlohmann::json &json);

    void add_queue(uint32_t index, std::shared_ptr<QueueCounters> counters);

    DeviceConfig config;
    std::vector<std::unique_ptr<Target>> &targets; // config.targets
    std::vector<Leaf *> leaves;                    // by layer index; nullptr for the others
    us_live *live = nullptr;

    mutable std::mutex mutex; // guards what follows
    std::map<uint32_t, std::shared_ptr<QueueCounters>> queues;
    std::vector<std::map<int, uint64_t>> errors; // by layer: errno → times

  private:
    std::unique_ptr<us_live> own_live_;
};

} // namespace us
