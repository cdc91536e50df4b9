// The one exception for a configuration that cannot be served.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace us {

// config.json refused: code and message for one clear error, with the layer or path where known.
struct ConfigError : std::runtime_error {
    ConfigError(std::string code, const std::string &message, std::string layer = {}, std::string path = {})
        : std::runtime_error(message), code(std::move(code)), layer(std::move(layer)), path(std::move(path)) {
    }
    std::string code, layer, path;
};

} // namespace us
