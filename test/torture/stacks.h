// The stacks that are tortured. A new layer joins with stacks of its own here: layers from the root down, as
// the compiler of tables would place them.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

struct StackDisk { // of a leaf of this name
    std::string name{};
    uint64_t bytes = 0;   // at most, if it grows
    bool grows = false;   // is empty at first
    bool backing = false; // is full at first, and only read
};

struct Stack {
    std::string layer; // --layer
    std::string name;
    nlohmann::json config;
    std::vector<StackDisk> disks;
    uint64_t bytes = 0;           // of the root
    bool narrow = false;          // an image may be told that there is no room
    bool keeps_discarded = false; // what a discard leaves is not known
};

const std::vector<Stack> &stacks();
