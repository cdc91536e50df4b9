// An image as it lies on the simulated disks, looked at by its tables: with those of its slices that only the
// run directory has, as the next server takes them over, or without.
//
//     consistent   no more references than refcounts, no entry that contradicts the format; leaks are allowed
//     snapshots    what one shows never changes
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "folder.h"
#include "sectors.h"
#include "targets/qcow2/header.h"
#include "targets/qcow2/media.h"

using SectorList = std::vector<Content>;
// What the snapshots show that were seen, by image and tag.
struct Snapshots {
    std::map<std::string, SectorList> seen; // by LAYER/TAG
    // Taken while a mirror was not whole: its member may have lost what a failed flush was for, and what it
    // shows then is written anew in the disk alone.
    std::set<std::string> of_doubt;
};

class ImageView : public us::qcow2::Media {
  public:
    // kept: the file of its slices, or nullptr.
    ImageView(std::string name, SectorList sectors, uint64_t length, Inode *kept);

    bool is_there() const { return there_; } // before it is made there is none
    uint64_t nr_kept() const { return nr_kept_; }
    // leaks: whether they are allowed.
    void check(bool leaks = true);
    void check_snapshots(Snapshots &snapshots);
    // What it shows. data: of the external data file, if it has one. backing: zeros behind its end.
    SectorList disk(const SectorList *data, const SectorList &backing) {
        return disk(header_, data, backing);
    }
    // In the folder for others to look at, as long as that has not had enough.
    void leave() const;

    us::Task<int> read(uint64_t offset, std::span<std::byte> into) override;
    us::Task<int> write(uint64_t, std::span<const std::byte>) override;
    us::Task<int> flush() override;
    uint64_t size() const override { return length_; }

  private:
    void take_over(Inode &kept);
    SectorList disk(const us::qcow2::Header &header, const SectorList *data, const SectorList &backing);

    std::string name_;
    SectorList sectors_;
    uint64_t length_;
    bool there_ = false;
    uint64_t nr_kept_ = 0; // slices that only the run directory has
    us::qcow2::Header header_;
};

// Where leave() leaves images, and how many.
struct Leaving {
    std::string folder;
    uint64_t most = 0, done = 0;
};
Leaving &leaving();
