// The programs of a device's loops: those that the server before has left, where they still fit, and the
// others from the verifier, which takes its time with each, so several at once.
#pragma once

#include <memory>
#include <vector>

#include "engine/shelf.h"
#include "frontends/ublk/kernel_loop.h"

namespace us::ublk {

// Gives each loop, in the order of their queues, its program, and leaves them for the next server. Uses as
// many processors as this process may. Throws what the first failure threw, once nothing runs any more:
// ProgramRefused, or std::system_error.
void load_loops(const std::vector<KernelLoop *> &loops, Shelf &shelf);

} // namespace us::ublk
