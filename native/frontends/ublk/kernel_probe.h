// Whether this host can serve queues in the kernel: asked by doing it, without a device.
#pragma once

#include <string>

namespace us::ublk {

struct KernelProbe {
    bool works = false;
    std::string reason; // in plain words, one line
    std::string log;    // the verifier's last words; empty when it was not asked
};

// Sets up a ring, loads the program for a stack of every layer type, attaches it, and takes all down again.
KernelProbe probe_kernel();

} // namespace us::ublk
