// The inside of a graph, for the engine's own files.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/config.h"
#include "engine/counters.h"
#include "engine/graph.h"
#include "engine/live.h"
#include "engine/offload.h"
#include "engine/sync_order.h"
#include "engine/words.h"

namespace us {

struct Graph::Impl {
    explicit Impl(const nlohmann::json &json);
    ~Impl();

    void add_queue(uint32_t index, std::shared_ptr<QueueCounters> counters);
    void queue_ends(const Queue &queue);

    // ---- opening, in open.cc
    void open_leaves();
    void load_handlers(uint32_t nr_child_slots);
    uint32_t nr_child_slots() const;
    MemberNow member_now(uint32_t layer) const;
    std::string trouble_of(uint32_t layer) const; // why a layer cannot be served; empty when it can
    void check_exports() const;

    // ---- any thread: runs fn on the queue of the background work; drops it when there is none any more
    void on_background_queue(const std::function<void(Executor &)> &fn);

    // ---- settle.cc
    // Runs work on a queue that serves nobody yet, or nobody any more, until it has ended.
    static void run(Queue &queue, Task<void> work);
    Task<void> make_ready(Executor &executor, std::optional<ConfigError> &trouble);
    Task<void> open_format(Executor &executor, uint32_t layer);
    Task<int> settle(Executor &executor, uint32_t root, uint32_t &settled);
    Task<int> settle_layer(Executor &executor, uint32_t layer, LeafIo io);
    Task<int> settle_format(Executor &executor, uint32_t layer, LeafIo io);
    Task<void> settle_dropped(Executor &executor, uint32_t layer, LeafIo io);
    void leave_unsettled(uint32_t layer);
    void shut_formats(Graph &graph);

    DeviceConfig config;
    std::vector<std::unique_ptr<Target>> &targets; // config.targets
    std::vector<Leaf *> leaves;                    // by layer index; nullptr for the others
    std::vector<SyncOrder> sync_orders;            // by layer index
    us_live *live = nullptr;                       // in live_file, or own_live_ when there is none
    std::unique_ptr<LiveFile> live_file;           // of a table with handlers
    std::unique_ptr<Words> words;                  // of a table with formats
    std::vector<bool> above_format;                // by layer index: it is one, or has one below it
    std::unique_ptr<Offload> offload;              // the same
    int state_dir = -1;
    std::map<uint32_t, ConfigError> troubles; // by layer: leaves and mirrors that cannot be served

    mutable std::mutex mutex; // guards what follows
    std::map<uint32_t, std::shared_ptr<QueueCounters>> queues;
    std::vector<std::map<int, uint64_t>> errors; // by layer: errno → times
    Queue *background = nullptr;

  private:
    std::unique_ptr<us_live> own_live_;
};

} // namespace us
