// The log on its leaf: found or begun, and entries put behind the last one. Blocks; one call at a time.
//
// The super counts entries only once they are there in whole, so that a reader, or a successor, finds whole
// ones. The last sector is kept for the mark that says that recording has ended: such a log is never written
// again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "targets/logwrites/held.h"
#include "targets/target.h"

namespace us {

class Log {
  public:
    Log();
    ~Log();
    Log(const Log &) = delete;
    Log &operator=(const Log &) = delete;

    // Goes on behind the last whole entry, or begins on zeros. notice: what is unusual about it. Throws
    // ConfigError.
    void open(Leaf &leaf, uint32_t sector_bytes, const std::function<void(const std::string &)> &notice);

    // Puts them behind the last entry, in this order, with their data from `held`, and counts them. 0, or
    // -ENOSPC when the log is full, or -errno; then only whole ones are counted. placed: how many of them.
    int append(const std::vector<HeldWrite> &writes, HeldWrites &held, size_t &placed);

    // Nothing is appended any more, by a successor neither: with the mark that says so, if that can be
    // written.
    void end();

    bool ended() const { return ended_; }
    uint64_t nr_entries() const { return nr_entries_; }
    uint64_t bytes() const { return end_; }
    // The text of the last mark of a user, that of a predecessor included.
    const std::string &last_mark() const { return last_mark_; }

  private:
    struct Buffer;

    int transfer(us_op op, std::byte *memory, uint64_t offset, uint64_t bytes);
    void follow(uint64_t nr_entries, const std::function<void(const std::string &)> &notice);
    void remember(const logformat::Entry &entry, const std::string &text);
    int put(const void *data, uint64_t bytes);
    int put_entry(const logformat::Entry &entry, const std::string &text);
    int put_data(const HeldWrite &write, const HeldWrites &held);
    int put_zeroes(uint64_t bytes);
    int write_out();
    int write_super();
    int place(const HeldWrite &write, HeldWrites &held);

    Leaf *leaf_ = nullptr;
    uint32_t sector_bytes_ = 0;
    uint64_t nr_entries_ = 0;
    uint64_t end_ = 0;    // of the last whole entry
    uint64_t next_ = 0;   // where the buffer's first byte goes
    uint64_t filled_ = 0; // bytes of the buffer
    std::unique_ptr<Buffer> buffer_;
    std::string last_mark_;
    bool ended_ = false;
};

} // namespace us
