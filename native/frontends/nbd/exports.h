// What clients are told about each export, worked out once from the graph.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/graph.h"

namespace us::nbd {

struct ExportInfo {
    std::string name;
    std::string description;
    uint32_t index = 0; // in Graph::exports()
    uint32_t root = 0;  // layer
    uint64_t size = 0;
    uint16_t flags = 0; // TransmissionFlag; FLAG_SEND_DF is added where structured replies are agreed on
    uint32_t minimum_block = 512;
    uint32_t preferred_block = 4096;
    uint64_t max_discard = 0;      // bytes of one request to the engine; 0: no limit
    uint64_t max_write_zeroes = 0; // likewise
    bool read_only = false;
};

// Every export of the graph, in the table's order.
std::vector<ExportInfo> describe_exports(const Graph &graph, const std::string &stack);

// The export of that name; the empty name stands for the only one ("Option types": NBD_OPT_EXPORT_NAME).
// nullptr: there is none.
const ExportInfo *find_export(const std::vector<ExportInfo> &exports, std::string_view name);

} // namespace us::nbd
