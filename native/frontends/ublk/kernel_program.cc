#include "frontends/ublk/kernel_program.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "frontends/ublk/program_image.h"

namespace us::ublk {

KernelProgram::KernelProgram(int ring_fd, VerifiedProgram program)
    : program_(std::move(program)), before_(bpf::runs(program_.program())) {
    map_words();
    link_ = bpf::attach(program_.layout(), program_.types(), program_.program(), ring_fd);
}

void KernelProgram::Unmap::operator()(char *at) const {
    munmap(at, bytes);
}

void KernelProgram::map_words() {
    const ProgramImage &image = ProgramImage::get();
    auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_t whole_pages = (image.words_bytes + page - 1) / page * page;
    void *at = mmap(nullptr, whole_pages, PROT_READ | PROT_WRITE, MAP_SHARED, program_.words().number(), 0);
    if (at == MAP_FAILED)
        throw std::system_error(errno, std::generic_category(), "cannot map the program's words");
    words_ = {static_cast<char *>(at), Unmap{whole_pages}};
    // A server before may have used them.
    memset(at, 0, image.words_bytes);
    auto place = [&](const char *variable, size_t bytes) {
        return words_.get() + image.offset_of(ProgramImage::WORDS, variable, bytes);
    };
    tags_ = reinterpret_cast<us_loop_tag *>(place("tags", US_LOOP_MAX_TAGS * sizeof(us_loop_tag)));
    counters_ = reinterpret_cast<us_loop_counters *>(place("counters", sizeof(us_loop_counters)));
}

bpf::Runs KernelProgram::runs() const {
    bpf::Runs now = bpf::runs(program_.program());
    return {now.nanoseconds - before_.nanoseconds, now.times - before_.times};
}

} // namespace us::ublk
