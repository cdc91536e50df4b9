// What is written and not yet in the log: a write has no place there before the next flush has ended. Held in
// a file of the run directory, so that it outlives a killed server and not a reboot.
//
//     head │ slot │ slot │ …  up to 64 GiB │ data, data, …     data of what is done with are punched out
//
//   a slot    free ──add()──▶ begun ──complete()──▶ completed ──placed()──▶ has a number in the log
//   ──drop()──▶ free
//
// A slot is filled after its data. Whether a successor has to log it again is told by its number: the log's
// super counts it, or not.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "targets/logwrites/format.h"

namespace us {

struct HeldWrite {
    logformat::Entry entry{};
    bool zeroes = false;    // the data are zeros, and not kept
    std::string text;       // of a mark, or what stands for the data
    uint64_t completed = 0; // order of completion
    uint64_t slot = 0;      // 0: it is not in the file, for there is nothing to lose
    uint64_t data = 0, bytes = 0;
};

class HeldWrites {
  public:
    HeldWrites() = default;
    ~HeldWrites();
    HeldWrites(const HeldWrites &) = delete;
    HeldWrites &operator=(const HeldWrites &) = delete;

    // Takes over what a predecessor of the same owner has left; owner names the boot, the base and the log.
    // 0 or -errno.
    int open(const std::string &path, const std::string &owner);

    // Left behind by a predecessor, but those among the first nr_logged of the log, which are dropped: in
    // order of completion, then those that it was still writing. Before anything else.
    std::vector<HeldWrite> left_behind(uint64_t nr_logged);

    // The rest: any thread, 0 or -errno.
    int add(HeldWrite &write, const std::byte *data, uint64_t bytes);
    int complete(HeldWrite &write);
    int placed(const HeldWrite &write, uint64_t number);
    int drop(const HeldWrite &write);
    int read(const HeldWrite &write, uint64_t offset, std::byte *out, uint64_t bytes) const;

    // Of data, now.
    uint64_t bytes() const;

  private:
    int start_anew(const std::string &owner);
    bool belongs_to(const std::string &owner) const;
    void take_place(HeldWrite &write);
    void give_place(const HeldWrite &write);

    int fd_ = -1;
    mutable std::mutex mutex_; // guards what follows
    std::vector<uint64_t> free_slots_;
    uint64_t nr_slots_ = 0, nr_used_ = 0, data_end_ = 0, bytes_ = 0, completions_ = 0;
};

} // namespace us
