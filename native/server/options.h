// The server program's command line.
#pragma once

#include <optional>
#include <string>

namespace us {

struct Options {
    enum class Mode { serve, check, nbd_stdio, probe };
    Mode mode = Mode::serve;
    std::string config;
    int ready_fd = -1; // -1: nobody waits
};

// Prints usage or what is wrong, and then returns nothing with the exit status in `status`: 0 for --help,
// 2 for bad usage.
std::optional<Options> parse_options(int argc, char **argv, int &status);

} // namespace us
