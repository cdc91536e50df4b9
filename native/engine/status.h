// What the control socket tells of a graph.
#pragma once

#include <nlohmann/json.hpp>

#include "engine/graph_impl.h"

namespace us {

// { queues: [{ requests, bytes, inFlight, enters }] by queue index, layers: [{ name, type, errors, reads,
// writes, flushes, discards, bytesRead, bytesWritten }], mirrors: [...] }. A mapping layer's operations are
// the sum of those that reached the leaves below it.
nlohmann::json status_of(const Graph::Impl &graph);

} // namespace us
