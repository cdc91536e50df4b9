// A stand to drive the engine on: builds config.json by hand, real files in a temporary folder, a queue on
// its own thread, and blocking calls around it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/graph.h"
#include "engine/queue.h"

using Bytes = std::vector<std::byte>;

// A folder of its own, removed with the object.
class TempDir {
  public:
    TempDir();
    ~TempDir();
    std::string path(const std::string &name = "") const { return name.empty() ? dir_ : dir_ + "/" + name; }
    // A sparse file.
    std::string file(const std::string &name, uint64_t size) const;

  private:
    std::string dir_;
};

// Grows a config.json, root first.
class ConfigBuilder {
  public:
    explicit ConfigBuilder(const TempDir &dir, std::string frontend = "nbd");

    // Adds a layer and returns its index; children must be added later and are given by index.
    uint32_t add(const std::string &type, const std::string &name, uint64_t size,
                 std::vector<uint32_t> children = {}, nlohmann::json params = nlohmann::json::object());
    void path(const std::string &layer, const std::string &path);
    nlohmann::json &json() { return json_; }
    nlohmann::json &layer(uint32_t index) { return json_["table"]["layers"][index]; }

  private:
    nlohmann::json json_;
};

struct Result {
    int32_t error;
    uint64_t good;
};

// A graph that is served by nr_queues threads.
class Served {
  public:
    // prepare: before the graph is opened.
    explicit Served(const nlohmann::json &config, uint32_t nr_queues = 1, uint32_t depth = 32,
                    const std::function<void(us::Graph &)> &prepare = {});
    ~Served(); // orderly

    us::Graph &graph() { return *graph_; }

    // Blocking, any thread; buffer holds length bytes for reads and writes.
    Result io(us_op op, uint64_t offset, uint64_t length, std::byte *buffer = nullptr, uint32_t flags = 0,
              uint32_t queue = 0, uint32_t root = 0);

    Result write(uint64_t offset, const Bytes &data, uint32_t flags = 0);
    Bytes read(uint64_t offset, uint64_t length); // must succeed
    Result flush() { return io(US_OP_FLUSH, 0, 0); }

    // Blocks until the status of the only mirror fulfils it.
    void wait_for(const std::function<bool(const nlohmann::json &mirror)> &condition);
    nlohmann::json mirror() { return graph_->status()["mirrors"][0]; }

    us::Queue &queue(uint32_t index) { return *queues_[index]; }

  private:
    std::unique_ptr<us::Graph> graph_;
    std::vector<us::Queue *> queues_;
    std::vector<std::thread> threads_;
    uint32_t take_tag(uint32_t queue);
    void give_tag(uint32_t queue, uint32_t tag);

    std::mutex tags_mutex_;
    std::condition_variable tags_given_;
    std::vector<std::vector<uint32_t>> free_tags_; // by queue
};

Bytes pattern(uint64_t seed, uint64_t length);
Bytes file_bytes(const std::string &path, uint64_t offset, uint64_t length);
