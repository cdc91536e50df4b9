// What goes wrong in one life of a server, and what is wrong with the whole machine when the simulator shows
// that it can find bugs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

// One request in so many fails; 0: none does.
struct DiskFaults {
    uint64_t read = 0, write = 0, flush = 0;
    bool cannot_zero = false;
    uint64_t shorten = 0; // one transfer in so many ends early, or is to be tried again
    uint64_t slow = 1;    // times the usual latency
};

struct Faults {
    std::vector<DiskFaults> disks;
    uint64_t state = 0; // one step of writing a state file in so many
};

// A planted bug: of the machine, or of the server's conduct.
enum class Mutant {
    none,
    state_not_flushed,  // state files are acknowledged before they are durable
    drop_not_recorded,  // a record that says "dropped" does not reach the folder
    dirty_not_recorded, // a record that says "dirty" does not reach the folder
    settle_skipped,     // what was in flight at a kill is forgotten
    flush_not_passed,   // a flush does not reach the second disk
    fua_not_passed,     // nor does a durable write
    fence_skipped,      // the locks of a dead server's requests are not waited for
    window_ignored,     // writes go on where a resync copies
};

const std::vector<std::pair<Mutant, std::string>> &mutants();
