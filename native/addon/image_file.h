// A disk image of this host as the addon looks at it, without a word to anybody else.
#pragma once

#include <string>
#include <system_error>
#include <vector>

#include "targets/qcow2/bitmaps.h"
#include "targets/qcow2/check.h"
#include "targets/qcow2/file_media.h"
#include "targets/qcow2/header.h"
#include "targets/qcow2/map.h"
#include "targets/qcow2/snapshots.h"

namespace us::addon {

// A system call on a file that failed: code() is the errno.
struct FileError : std::system_error {
    FileError(const char *op, int error, const std::string &path)
        : std::system_error(error, std::generic_category(), path), op(op) {}
    const char *op;
};

// What the beginning of a file says.
struct ImageHead {
    enum Kind {
        qcow2,   // `header` holds
        refused, // it is qcow2; `message` says why it is not read
        blank,   // the first and the last MiB are zeros, or nothing is there
        other,
    } kind = other;
    qcow2::Header header;
    std::string message;
};

// What stands in the image beside its header.
struct ImageDetails {
    std::vector<qcow2::Snapshot> snapshots;
    std::vector<qcow2::Bitmap> bitmaps;
    std::vector<std::string> refusals; // of tables that contradict the specification
};

struct ImageRuns {
    std::vector<qcow2::MapRun> runs;
    uint64_t next = 0; // where the next part begins; the disk's size at its end
};

// All of it may wait. Throws FileError.
class ImageFile {
  public:
    // A regular file or a block device: nothing else is opened, as the mere opening of a pipe or a character
    // device may wait, or set something going.
    enum class Access { read, write };
    explicit ImageFile(std::string path, Access access = Access::read)
        : path_(std::move(path)), media_(open_for(path_, access)) {}

    uint64_t bytes() const { return media_.size(); }
    uint64_t disk_bytes() const; // that the file takes up

    ImageHead head();

    // Of an image with this header. What may take long ends with ECANCELED once `stop` is no longer 0.
    ImageDetails details(const qcow2::Header &header);
    qcow2::CheckReport check(const qcow2::Header &header, const int32_t &stop);
    // From a guest's offset on: as many runs as fit one answer.
    ImageRuns map(const qcow2::Header &header, uint64_t from, const int32_t &stop);

    // Keeps writers out, QEMU's and ours, for as long as this is there. False when there is one.
    bool keep_still() { return lock(false); }
    // Keeps everybody else out, who writes, or looks and wants it still. False when there is one.
    bool keep_out() { return lock(true); }

    qcow2::FileMedia &media() { return media_; }
    bool is_regular() const;

  private:
    static int open_for(const std::string &path, Access access);
    bool lock(bool writer);
    void must(int error) const;
    std::vector<std::byte> read(uint64_t offset, uint64_t bytes);
    void read_bitmaps(const qcow2::Header &header, ImageDetails &details);
    bool is_blank();

    std::string path_;
    qcow2::FileMedia media_;
};

} // namespace us::addon
