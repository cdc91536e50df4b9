#include "engine/log.h"

#include <unistd.h>

#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include <nlohmann/json.hpp>

namespace us {

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

std::string stack_name, device_name;

struct Repeated {
    Clock::time_point last;
    uint64_t held_back = 0;
};

std::mutex repeated_mutex;
std::map<std::pair<std::string, int>, Repeated> repeated;

void write_line(Level level, const json &fields) {
    auto now = std::chrono::system_clock::now().time_since_epoch();
    nlohmann::ordered_json line;
    line["time"] = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
    line["level"] = static_cast<int>(level);
    line["stack"] = stack_name;
    line["device"] = device_name;
    for (auto &[key, value] : fields.items())
        line[key] = value;
    std::string text = line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    // One write, so that lines of several processes do not mix. A log that cannot be written cannot be
    // complained of.
    [[maybe_unused]] ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

// How many lines were held back since the last one, or -1: hold this one back too.
int64_t pass(std::string_view layer, int error) {
    std::lock_guard lock(repeated_mutex);
    auto now = Clock::now();
    auto [entry, fresh] = repeated.try_emplace({std::string(layer), error});
    Repeated &r = entry->second;
    if (!fresh && now - r.last < std::chrono::seconds(1)) {
        r.held_back++;
        return -1;
    }
    r.last = now;
    return static_cast<int64_t>(std::exchange(r.held_back, 0));
}

} // namespace

void log_identity(std::string stack, std::string device) {
    stack_name = std::move(stack);
    device_name = std::move(device);
}

void log(Level level, std::string_view message) {
    write_line(level, {{"msg", message}});
}

void log_io_error(std::string_view layer, std::string_view path, const char *op, uint64_t offset,
                  uint64_t length, int error) {
    int64_t held_back = pass(layer, error);
    if (held_back < 0) return;
    const char *name = strerrorname_np(error);
    std::string errno_name = name ? name : std::to_string(error);
    json fields = {{"msg", std::string(op) + " failed: " + strerror(error)},
                   {"layer", layer},
                   {"path", path},
                   {"op", op},
                   {"offset", offset},
                   {"length", length},
                   {"errno", errno_name}};
    if (held_back > 0) fields["repeated"] = held_back;
    write_line(Level::error, fields);
}

} // namespace us
