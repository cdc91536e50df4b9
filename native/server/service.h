// How the server program sees a frontend: the same steps for a ublk device and for NBD exports.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "engine/graph.h"
#include "engine/shelf.h"

namespace us {

using Progress = std::function<void(const std::string &)>;

class Service {
  public:
    virtual ~Service() = default;
    // Everything that needs a path or a descriptor: opens the graph too. Throws what the frontend throws.
    virtual void prepare(Shelf &shelf) = 0;
    // Returns when clients are served.
    virtual void start() = 0;
    // Any thread, any number of times, from prepare() on.
    virtual void stop() = 0;
    // Until everything in flight has ended after stop().
    virtual void join() = 0;

    virtual std::optional<uint32_t> device_id() const = 0;
    // For the control socket: one object per export.
    virtual nlohmann::json exports() const = 0;
    // Adds engine, reason, copyMode and kernel to one queue's part of the status.
    virtual void describe_queue(uint32_t index, nlohmann::json &queue) const = 0;
};

// By table.frontend. Throws ConfigError; for ublk also ControlError where there is no driver.
std::unique_ptr<Service> make_service(Graph &graph, const nlohmann::json &config, Progress progress);

} // namespace us
