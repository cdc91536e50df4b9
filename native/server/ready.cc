#include "server/ready.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

namespace us {

using nlohmann::json;

Ready::~Ready() {
    close();
}

void Ready::close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
}

void Ready::write_line(const std::string &line) {
    if (fd_ < 0) return;
    // Short enough for one write to a pipe. A starter that has gone away is no reason to stop: SIGPIPE is
    // ignored.
    [[maybe_unused]] ssize_t written = write(fd_, line.data(), line.size());
}

void Ready::progress(const std::string &text, const std::string &layer) {
    json line = {{"progress", text}};
    if (!layer.empty()) line["layer"] = layer;
    write_line(line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
}

void Ready::ok(std::optional<uint32_t> id) {
    write_line(json{{"ready", true}, {"id", id ? json(*id) : json()}, {"pid", getpid()}}.dump() + "\n");
    close();
}

void Ready::failed(const std::string &code, const std::string &message, const std::string &layer,
                   const std::string &path) {
    json error = {{"code", code}, {"message", message}, {"layer", layer}, {"path", path}};
    json line = {{"ready", false}, {"error", error}};
    write_line(line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
    close();
}

} // namespace us
