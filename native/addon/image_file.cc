#include "addon/image_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "targets/finished.h"
#include "targets/ofd_lock.h"

namespace us::addon {

namespace {

constexpr uint64_t BLANK_BYTES = 1 << 20; // at either end

// 0, or the errno for what is no medium.
int unfit(const struct stat &st) {
    if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) return 0;
    return S_ISDIR(st.st_mode) ? EISDIR : ENOTBLK;
}

bool all_zero(const std::vector<std::byte> &bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

} // namespace

int ImageFile::open_for_reading(const std::string &path) {
    if (path.find('\0') != std::string::npos) throw FileError("open", EINVAL, path);
    struct stat st {};
    if (stat(path.c_str(), &st) != 0) throw FileError("stat", errno, path);
    if (int error = unfit(st)) throw FileError("open", error, path);
    // What stands at the path may have been replaced meanwhile.
    int fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) throw FileError("open", errno, path);
    int error = fstat(fd, &st) == 0 ? unfit(st) : errno;
    if (error == 0) return fd;
    close(fd);
    throw FileError("open", error, path);
}

std::vector<std::byte> ImageFile::read(uint64_t offset, uint64_t bytes) {
    std::vector<std::byte> into(bytes);
    if (int error = finished(media_.read(offset, into))) throw FileError("read", -error, path_);
    return into;
}

bool ImageFile::is_blank() {
    uint64_t size = media_.size(), part = std::min(size, BLANK_BYTES);
    return all_zero(read(0, part)) && all_zero(read(size - part, part));
}

ImageHead ImageFile::head() {
    ImageHead head;
    auto bytes = read(0, std::min<uint64_t>(media_.size(), qcow2::HEADER_READ_BYTES));
    auto refusal = qcow2::parse_header(bytes, media_.size(), head.header);
    if (!refusal) {
        head.kind = ImageHead::qcow2;
    } else if (refusal->kind != qcow2::Refusal::foreign) {
        head.kind = ImageHead::refused;
        head.message = refusal->text;
    } else if (is_blank()) {
        head.kind = ImageHead::blank;
    }
    return head;
}

bool ImageFile::keep_still() {
    int error = lock_image(media_.fd(), false);
    if (error == 0) return true;
    if (error == -EAGAIN) return false;
    // A file system without locks has none of a writer's either.
    if (error == -ENOLCK || error == -EOPNOTSUPP || error == -EINVAL) return true;
    throw FileError("lock", -error, path_);
}

} // namespace us::addon
