#include "frontends/ublk/shared_region.h"

#include <sys/mman.h>

#include <cerrno>
#include <system_error>

namespace us::ublk {

namespace {

// mremap(2): with an old size of 0 a shared mapping is not moved, but mapped another time.
void map_again(const void *from, size_t bytes, std::byte *at) {
    void *mapped = mremap(const_cast<void *>(from), 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at);
    if (mapped == MAP_FAILED)
        throw std::system_error(errno, std::generic_category(), "cannot share memory with the kernel");
}

} // namespace

SharedRegion::SharedRegion(std::span<std::byte> live, const us_words *words) {
    size_t bytes = live.size() + (words ? sizeof(us_words) : 0);
    void *at = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        throw std::system_error(errno, std::generic_category(), "cannot share memory with the kernel");
    memory_ = {static_cast<std::byte *>(at), bytes};
    try {
        map_again(live.data(), live.size(), memory_.data());
        if (!words) return;
        words_offset_ = live.size();
        map_again(words, sizeof(us_words), memory_.data() + words_offset_);
    } catch (...) {
        munmap(memory_.data(), memory_.size());
        throw;
    }
}

SharedRegion::~SharedRegion() {
    munmap(memory_.data(), memory_.size());
}

} // namespace us::ublk
