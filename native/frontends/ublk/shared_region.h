// What a queue's program in the kernel has to see, in one piece of memory, as a ring's region has to be: the
// live file, and the words of formats behind it. The same pages, mapped once more.
//
//     live file │ us_words
#pragma once

#include <cstddef>
#include <span>

#include "core/table.h"

namespace us::ublk {

class SharedRegion {
  public:
    // live: whole pages of a shared mapping. words: the same, or nullptr. Throws std::system_error.
    SharedRegion(std::span<std::byte> live, const us_words *words);
    // A ring that has it registered keeps the pages.
    ~SharedRegion();
    SharedRegion(const SharedRegion &) = delete;
    SharedRegion &operator=(const SharedRegion &) = delete;

    std::span<std::byte> memory() const { return memory_; }
    size_t words_offset() const { return words_offset_; } // 0: there are none

  private:
    std::span<std::byte> memory_;
    size_t words_offset_ = 0;
};

} // namespace us::ublk
