// The loaded table of one server: constant layers, live words, open leaves, mirror states, counters.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/table.h"
#include "engine/config.h"
#include "targets/config_error.h"
#include "targets/extent.h"
#include "targets/geometry.h"

namespace us {

class Graph {
  public:
    // Pure: reads the JSON and builds the table. Throws ConfigError.
    explicit Graph(const nlohmann::json &config);
    ~Graph();
    Graph(const Graph &) = delete;
    Graph &operator=(const Graph &) = delete;

    // Opens and locks every leaf (waiting for a dead predecessor's requests to end: the fence), maps the live
    // file with its in-flight slots for nr_queues × depth requests, and loads the mirror states. Throws
    // ConfigError or std::system_error.
    void open(uint32_t nr_queues, uint32_t depth);

    // Makes equal again whatever a dead predecessor had in flight (mirrors), and opens what lies on layers
    // (formats), using `queue`'s ring. Called on the queue thread of queue 0 before anything is served;
    // blocks until done. Throws ConfigError.
    void make_ready(class Queue &queue);

    // Begins background work (resync of mirrors) on queue 0; call once serving. Returns at once.
    void start_background(class Queue &queue);

    // Orderly end, after all queues have stopped: flushes, marks mirrors clean, closes leaves.
    void close();

    // Whether a durable write to this layer is a write with a flush behind it: a format below has tables,
    // too, that make it so.
    bool durable_by_flush(uint32_t layer) const;

    // Whether every leaf works well with registered buffers: asynchronous, nothing served by memcpy or inline
    // system calls.
    bool prefers_zero_copy() const;

    const us_table &table() const;
    us_live &live();
    // Of formats: nullptr without any.
    const us_words *words() const;
    const std::vector<Export> &exports() const;
    const Geometry &geometry(uint32_t layer) const;
    const std::string &name(uint32_t layer) const;
    uint64_t size(uint32_t layer) const;

    // Allocation of [offset, offset + length) of a layer, merged, at most max_extents (1 or more); covers a
    // prefix. May block on metadata of the file system.
    std::vector<Extent> extents(uint32_t layer, uint64_t offset, uint64_t length, uint32_t max_extents);

    // For the control socket: "layers", "mirrors", "instruments", per-queue counters. Any thread.
    nlohmann::json status() const;

    // Takes a dropped member back: it becomes syncing. Any thread. Returns an error text, empty when done.
    std::string readd(const std::string &layer, const std::string &member);

    // All params of an instrument anew. Any thread. Returns an error text, empty when done.
    std::string set(const std::string &layer, const nlohmann::json &params);

    // What a format answers about its snapshots: targets/format.h. The control thread.
    nlohmann::json snapshots(const std::string &layer, const nlohmann::json &request);

    // Any thread: a flush, or a durable write, of this leaf has failed.
    void sync_failed(uint32_t layer);
    // Once open: flushes and durable writes have to be carried out by queues, which put those that overlap in
    // order (engine/sync_order.h).
    bool orders_flushes() const;

    // Any thread: one more failed operation of a layer; error is a positive errno.
    void count_error(uint32_t layer, int error);

    struct Impl;
    Impl &impl() const { return *impl_; }

  private:
    std::unique_ptr<Impl> impl_;
};

} // namespace us
