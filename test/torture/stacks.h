// The stacks that are tortured. A new layer joins with stacks of its own here: layers from the root down, as
// the compiler of tables would place them.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

struct Stack {
    std::string layer; // --layer
    std::string name;
    nlohmann::json config;
    std::vector<std::string> disks; // the leaves' names, and the sizes of their files
    std::vector<uint64_t> disk_bytes;
    uint64_t bytes = 0; // of the root
};

const std::vector<Stack> &stacks();
