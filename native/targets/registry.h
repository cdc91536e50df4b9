// The one place that turns a type's name into its target.
#pragma once

#include <memory>
#include <string>

#include "targets/target.h"

namespace us {

// Throws ConfigError for a type that does not exist.
std::unique_ptr<Target> make_target(const std::string &type, LayerConfig config);

} // namespace us
