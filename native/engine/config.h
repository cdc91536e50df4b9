// config.json, read and checked: see DeviceConfig below for all that the engine takes from it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/table.h"
#include "targets/target.h"

namespace us {

struct Export {
    std::string name; // empty for a device without a name of its own
    uint32_t root = 0;
    bool read_only = false;
};

// How headers of images name a layer, and what a program that opens it has to take it for.
struct ImageName {
    std::string name, format;
};

struct RuntimeConfig {
    std::string stack, device;
    std::string run_dir;   // of the device: live file
    std::string state_dir; // of the stack: mirror states
    std::string boot_id;
    // Of layers that other devices of the stack serve, whose paths here change with their numbers.
    std::map<std::string, ImageName> image_names;
    std::vector<std::string> blank;  // layers whose media were created empty by this very apply
    uint64_t lock_wait_ms = 30'000;  // runtime.lockWaitMs: how long to wait for a predecessor's locks
    uint64_t clean_after_ms = 5'000; // runtime.cleanAfterMs: idle time after which a mirror is marked clean
};

struct DeviceConfig {
    RuntimeConfig runtime;
    us_table table{};
    uint64_t table_hash = 0;                      // of all that gives in-flight slots their meaning
    std::vector<std::unique_ptr<Target>> targets; // by layer index
    std::vector<std::string> types;               // by layer index, as in the file
    std::vector<Export> exports;
    bool has_mirror = false;
    bool has_handler = false;
    bool has_format = false;
};

// Pure: no file is touched. Throws ConfigError with one message for the first thing that is wrong.
DeviceConfig read_config(const nlohmann::json &config);

} // namespace us
