// Whoever takes and deletes snapshots of the images while they are in use, as the control socket would.
#pragma once

#include <string>
#include <vector>

#include "engine/graph.h"
#include "kernel.h"

class SnapshotClients {
  public:
    // next_tag: no two snapshots of a case are called alike.
    SnapshotClients(Kernel &kernel, us::Graph &graph, uint64_t &next_tag);

    // One more, or one less, of some image; all of it following from the seed.
    void issue(uint64_t seed);
    // Those that were begun have ended, as they have to when nothing has gone wrong.
    bool idle();

  private:
    static constexpr size_t MOST = 3;

    struct Change {
        std::string layer, what, tag;
        uint64_t number;
    };

    void note_doubt(const Change &change);

    Kernel &kernel_;
    us::Graph &graph_;
    uint64_t &next_tag_;
    std::vector<std::string> layers_;
    std::vector<Change> begun_;
};
