// What layers hold on the simulated disks, while nothing is under way: by the mapping of reads, and of images
// by their tables (images.h). The graph is asked for places alone, never for data.
#pragma once

#include <vector>

#include "engine/graph.h"
#include "images.h"
#include "kernel.h"

class Contents {
  public:
    Contents(Kernel &kernel, us::Graph &graph) : kernel_(kernel), graph_(graph) {}

    // All members of a mirror that may be read hold the same, or fail().
    void check_members() { of(0, true); }
    // Every image is consistent, or fail(). leaks: whether they are allowed where no tables are in memory
    // alone. False when there are such tables.
    bool check_images(bool leaks = true);

  private:
    // Sector by sector. Empty: it cannot be read, or there is no image yet. compare: members of mirrors.
    SectorList of(uint32_t layer, bool compare);
    SectorList of_leaf(uint32_t layer) const;
    SectorList of_image(uint32_t layer, bool compare);
    SectorList of_mapping(uint32_t layer, bool compare);
    void compare_members(uint32_t layer, const std::vector<SectorList> &members, const SectorList &all);
    bool is_image(uint32_t layer) const;
    uint32_t child(uint32_t layer, uint32_t nth) const;
    ImageView view_of(uint32_t layer, SectorList base, bool with_kept) const;

    Kernel &kernel_;
    us::Graph &graph_;
};
