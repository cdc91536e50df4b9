#include "engine/status.h"

#include <cstring>
#include <string>

#include "engine/scheduling.h"
#include "targets/format.h"

namespace us {

namespace {

using nlohmann::json;

struct Sum {
    uint64_t reads = 0, writes = 0, flushes = 0, discards = 0, bytes_read = 0, bytes_written = 0;

    void add(const Sum &other) {
        reads += other.reads;
        writes += other.writes;
        flushes += other.flushes;
        discards += other.discards;
        bytes_read += other.bytes_read;
        bytes_written += other.bytes_written;
    }

    void add(const LeafCounters &c) {
        add(Sum{c.reads.get(), c.writes.get(), c.flushes.get(), c.discards.get(), c.bytes_read.get(),
                c.bytes_written.get()});
    }

    void add(const us_loop_leaf_counters &c) {
        add(Sum{US_READ_ONCE(c.reads), US_READ_ONCE(c.writes), US_READ_ONCE(c.flushes), 0,
                US_READ_ONCE(c.bytes_read), US_READ_ONCE(c.bytes_written)});
    }
};

json errors_of(const std::map<int, uint64_t> &errors) {
    json out = json::object();
    for (auto [error, times] : errors) {
        const char *name = strerrorname_np(error);
        out[name ? name : std::to_string(error)] = times;
    }
    return out;
}

} // namespace

json status_of(const Graph::Impl &graph) {
    std::lock_guard lock(graph.mutex);
    json queues = json::array();
    std::vector<Sum> sums(graph.targets.size());
    for (const auto &[index, counters] : graph.queues) {
        queues.push_back(
            {{"requests", counters->requests.get()},
             {"bytes", counters->bytes.get()},
             {"inFlight", counters->in_flight.get()},
             {"enters", counters->enters.get()},
             {"scheduling", scheduling_name(counters->crowded.load(std::memory_order_relaxed))}});
        for (size_t i = 0; i < sums.size(); i++)
            sums[i].add(counters->leaves[i]);
        if (const us_loop_counters *kernel = counters->kernel.load(std::memory_order_acquire))
            for (size_t i = 0; i < sums.size(); i++)
                sums[i].add(kernel->leaves[i]);
    }
    // Children have greater indexes, so they are complete before their parents ask.
    for (size_t i = sums.size(); i-- > 0;)
        for (uint32_t child : graph.targets[i]->config().children)
            sums[i].add(sums[child]);

    json layers = json::array();
    for (size_t i = 0; i < sums.size(); i++)
        layers.push_back({{"name", graph.targets[i]->config().name},
                          {"type", graph.config.types[i]},
                          {"errors", errors_of(graph.errors[i])},
                          {"reads", sums[i].reads},
                          {"writes", sums[i].writes},
                          {"flushes", sums[i].flushes},
                          {"discards", sums[i].discards},
                          {"bytesRead", sums[i].bytes_read},
                          {"bytesWritten", sums[i].bytes_written}});
    json mirrors = json::array(), instruments = json::array(), images = json::array();
    for (const auto &target : graph.targets)
        if (const Handler *handler = target->handler())
            (target->instrument() ? instruments
             : target->format()   ? images
                                  : mirrors)
                .push_back(handler->status());
    return {{"queues", queues},
            {"layers", layers},
            {"mirrors", mirrors},
            {"instruments", instruments},
            {"images", images}};
}

} // namespace us
