// Memory for the slices of a TableCache. In a file of the run directory, mapped, they outlive a killed
// server, and not a reboot: what clients were told is done, and no flush has brought to the disk yet, is
// there again for its successor.
//
//     head: owner │ Kept × nr │ slice × nr
//
// A change of a slice is one store of a word after another, each of which leaves it consistent; so whatever
// moment the server was killed at, a successor finds tables of some moment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace us::qcow2 {

class SliceStore {
  public:
    // What is known of a slice: as long as it is used.
    struct Kept {
        uint64_t offset;           // in the image
        uint64_t changes, written; // equal: as on the disk
        uint32_t kind, used;
    };
    struct Place {
        Kept *kept = nullptr;
        std::byte *data = nullptr;
    };

    // In the memory of this process; nothing is allocated before it is taken.
    SliceStore(uint32_t slice_bytes, uint64_t nr_slices) : slice_bytes_(slice_bytes), nr_(nr_slices) {}
    ~SliceStore();
    SliceStore(const SliceStore &) = delete;
    SliceStore &operator=(const SliceStore &) = delete;

    // Instead, and before anything is taken: in a file of this folder. owner names boot, image and geometry:
    // what another one has left is thrown away. left: slices that a predecessor had not written yet. 0 or
    // -errno.
    int open(int folder, const std::string &name, const std::string &owner, std::vector<Place> &left);

    // One word that lives as long as the slices do; 0 to begin with. After open().
    uint32_t &doubt();
    // Of slices: as many as were asked for, or as many as a predecessor had where it has left some.
    uint64_t size() const { return nr_; }

    // 0 or -errno: -ENOSPC when all are taken, or the tmpfs is full.
    int take(Place &place);
    void give(const Place &place);

  private:
    struct Head;

    int make(const Head &head);
    int take_over(std::vector<Place> &left);
    int map(int fd);
    void unmap();
    Place place(uint64_t index) const;
    int reserve(uint64_t index);

    uint32_t slice_bytes_;
    uint64_t nr_;
    uint32_t own_doubt_ = 0;
    int fd_ = -1;
    std::byte *memory_ = nullptr;
    size_t bytes_ = 0, slices_at_ = 0;
    uint64_t fresh_ = 0;  // from here on none was ever used
    size_t reserved_ = 0; // bytes of the file that are sure to have memory
    std::vector<Place> free_;
};

} // namespace us::qcow2
