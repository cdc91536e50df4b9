// Memory for the words of a table's formats (core/format.h): zeros, taken page by page as they are written.
// Shared, so that a program in the kernel can have the same pages.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <system_error>

#include "core/table.h"

namespace us {

class Words {
  public:
    // Throws std::system_error.
    Words() {
        void *at = mmap(nullptr, sizeof(us_words), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "memory for words");
        words_ = static_cast<us_words *>(at);
    }
    ~Words() { munmap(words_, sizeof(us_words)); }
    Words(const Words &) = delete;
    Words &operator=(const Words &) = delete;

    us_words *get() const { return words_; }

  private:
    us_words *words_;
};

} // namespace us
