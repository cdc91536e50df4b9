#include "targets/null/null.h"

#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace us {

void NullLeaf::open(const OpenContext &) {
    zero_fd_ = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
    if (zero_fd_ < 0) refuse(std::string("cannot open /dev/zero: ") + strerror(errno));
}

void NullLeaf::close() {
    if (zero_fd_ >= 0) ::close(zero_fd_);
    zero_fd_ = -1;
}

bool NullLeaf::runs_inline(const LeafIo &io) const {
    return io.op != US_OP_READ || io.buffer.data;
}

int64_t NullLeaf::run(const LeafIo &io) {
    if (io.op == US_OP_READ) memset(io.buffer.data, 0, io.length);
    return io.op == US_OP_READ || io.op == US_OP_WRITE ? static_cast<int64_t>(io.length) : 0;
}

void NullLeaf::prepare(io_uring_sqe *sqe, int file, const LeafIo &io) const {
    auto length = static_cast<unsigned>(std::min<uint64_t>(io.length, 1u << 30));
    io_uring_prep_read_fixed(sqe, file, reinterpret_cast<void *>(io.buffer.fixed_offset), length, 0,
                             io.buffer.fixed_index);
    sqe->flags |= IOSQE_FIXED_FILE;
}

} // namespace us
