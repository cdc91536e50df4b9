// Engine ublk-bpf with a driver played for it: random requests, pieces that end at once, in turn or in
// reverse, that fail, that cannot be begun. What the program submits and how it completes is held against the
// model.
#pragma once

#include "engines.h"
#include "model.h"

namespace us::differential {

struct UblkReport {
    uint64_t requests = 0, pieces = 0, to_server = 0, cut = 0, failed = 0, verified_insns = 0,
             jited_bytes = 0;
};

// Loads the programs once for each of so many stacks. Throws std::runtime_error with the first thing that is
// wrong.
UblkReport check_ublk(const std::string &driver_object, Random &random, uint64_t loads);

} // namespace us::differential
