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

constexpr size_t RUNS_OF_ONE_ANSWER = 1 << 16;

// Media that somebody may lose patience with: every table is read anew, and so looked up here.
class Stoppable : public qcow2::Media {
  public:
    Stoppable(qcow2::Media &media, const int32_t &stop) : media_(media), stop_(stop) {}

    Task<int> read(uint64_t offset, std::span<std::byte> into) override {
        if (__atomic_load_n(&stop_, __ATOMIC_RELAXED) != 0) co_return -ECANCELED;
        co_return co_await media_.read(offset, into);
    }
    Task<int> write(uint64_t, std::span<const std::byte>) override { co_return -EROFS; }
    Task<int> flush() override { co_return 0; }
    uint64_t size() const override { return media_.size(); }

  private:
    qcow2::Media &media_;
    const int32_t &stop_; // JavaScript sets it, on another thread
};

bool all_zero(const std::vector<std::byte> &bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

} // namespace

int ImageFile::open_for(const std::string &path, Access access) {
    if (path.find('\0') != std::string::npos) throw FileError("open", EINVAL, path);
    struct stat st {};
    if (stat(path.c_str(), &st) != 0) throw FileError("stat", errno, path);
    if (int error = unfit(st)) throw FileError("open", error, path);
    // What stands at the path may have been replaced meanwhile.
    int flags = access == Access::read ? O_RDONLY : O_RDWR;
    if (access == Access::write && S_ISBLK(st.st_mode)) flags |= O_EXCL; // neither mounted nor served
    int fd = open(path.c_str(), flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) throw FileError("open", errno, path);
    int error = fstat(fd, &st) == 0 ? unfit(st) : errno;
    if (error == 0) return fd;
    close(fd);
    throw FileError("open", error, path);
}

std::vector<std::byte> ImageFile::read(uint64_t offset, uint64_t bytes) {
    std::vector<std::byte> into(bytes);
    must(finished(media_.read(offset, into)));
    return into;
}

void ImageFile::must(int error) const {
    if (error != 0) throw FileError("read", -error, path_);
}

uint64_t ImageFile::disk_bytes() const {
    struct stat st {};
    if (fstat(media_.fd(), &st) != 0) throw FileError("stat", errno, path_);
    return static_cast<uint64_t>(st.st_blocks) * 512;
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

ImageDetails ImageFile::details(const qcow2::Header &header) {
    ImageDetails details;
    qcow2::SnapshotsRead read = finished(qcow2::read_snapshots(media_, header));
    must(read.error);
    if (read.refusal)
        details.refusals.push_back(read.refusal->text);
    else
        details.snapshots = std::move(read.table.snapshots);
    if (header.bitmaps) read_bitmaps(header, details);
    return details;
}

void ImageFile::read_bitmaps(const qcow2::Header &header, ImageDetails &details) {
    const qcow2::Range &directory = header.bitmaps->directory;
    auto refusal = qcow2::parse_bitmaps(read(directory.offset, directory.bytes), header, details.bitmaps);
    if (!refusal) return;
    details.bitmaps.clear();
    details.refusals.push_back(refusal->text);
}

qcow2::CheckReport ImageFile::check(const qcow2::Header &header, const int32_t &stop) {
    Stoppable media(media_, stop);
    qcow2::CheckReport report = finished(qcow2::check(media, header));
    must(report.error);
    return report;
}

ImageRuns ImageFile::map(const qcow2::Header &header, uint64_t from, const int32_t &stop) {
    Stoppable media(media_, stop);
    ImageRuns part;
    must(finished(qcow2::map(media, header, from, header.size, part.runs, RUNS_OF_ONE_ANSWER)));
    part.next = part.runs.empty() ? header.size : part.runs.back().start + part.runs.back().length;
    return part;
}

bool ImageFile::is_regular() const {
    struct stat st {};
    return fstat(media_.fd(), &st) == 0 && S_ISREG(st.st_mode);
}

bool ImageFile::lock(bool writer) {
    int error = lock_image(media_.fd(), writer);
    if (error == 0) return true;
    if (error == -EAGAIN) return false;
    // A file system without locks has none of a writer's either.
    if (error == -ENOLCK || error == -EOPNOTSUPP || error == -EINVAL) return true;
    throw FileError("lock", -error, path_);
}

} // namespace us::addon
