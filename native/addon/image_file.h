// A disk image of this host as the addon looks at it: opened for reading, without a word to anybody else.
#pragma once

#include <string>
#include <system_error>
#include <vector>

#include "targets/qcow2/file_media.h"
#include "targets/qcow2/header.h"

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

class ImageFile {
  public:
    // A regular file or a block device: nothing else is opened, as the mere opening of a pipe or a character
    // device may wait, or set something going. Throws FileError.
    explicit ImageFile(std::string path) : path_(std::move(path)), media_(open_for_reading(path_)) {}

    qcow2::FileMedia &media() { return media_; }
    const std::string &path() const { return path_; }

    // Throws FileError.
    ImageHead head();

    // Keeps writers out, QEMU's and ours, for as long as this is there. False when there is one.
    bool keep_still();

  private:
    static int open_for_reading(const std::string &path);
    std::vector<std::byte> read(uint64_t offset, uint64_t bytes);
    bool is_blank();

    std::string path_;
    qcow2::FileMedia media_;
};

} // namespace us::addon
