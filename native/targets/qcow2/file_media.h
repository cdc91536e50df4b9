// An image in a file or on a block device, for programs that may wait: every task of it ends at once.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "targets/qcow2/media.h"

namespace us::qcow2 {

class FileMedia : public Media {
  public:
    // fd: an open one, which is closed with this.
    explicit FileMedia(int fd) : fd_(fd), size_(end_of(fd)) {}
    ~FileMedia() override { close(fd_); }
    FileMedia(const FileMedia &) = delete;
    FileMedia &operator=(const FileMedia &) = delete;

    int fd() const { return fd_; }

    Task<int> read(uint64_t offset, std::span<std::byte> into) override {
        while (!into.empty()) {
            ssize_t n = pread(fd_, into.data(), into.size(), static_cast<off_t>(offset));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) co_return -errno;
            if (n == 0) break;
            into = into.subspan(static_cast<size_t>(n));
            offset += static_cast<uint64_t>(n);
        }
        std::fill(into.begin(), into.end(), std::byte{0});
        co_return 0;
    }
    Task<int> write(uint64_t offset, std::span<const std::byte> from) override {
        uint64_t end = offset + from.size();
        while (!from.empty()) {
            ssize_t n = pwrite(fd_, from.data(), from.size(), static_cast<off_t>(offset));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) co_return -errno;
            from = from.subspan(static_cast<size_t>(n));
            offset += static_cast<uint64_t>(n);
        }
        size_ = std::max(size_, end);
        co_return 0;
    }
    Task<int> flush() override { co_return fsync(fd_) == 0 ? 0 : -errno; }
    // What is a hole already stays one, without a change of the file.
    Task<void> discard(uint64_t offset, uint64_t length) override {
        off_t data = lseek(fd_, static_cast<off_t>(offset), SEEK_DATA);
        bool hole = data < 0 ? errno == ENXIO : static_cast<uint64_t>(data) >= offset + length;
        if (!hole)
            fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                      static_cast<off_t>(length));
        co_return;
    }
    // Nothing is behind `size` any more. 0 or -errno.
    int shorten(uint64_t size) {
        if (ftruncate(fd_, static_cast<off_t>(size)) != 0) return -errno;
        size_ = size;
        return 0;
    }
    uint64_t size() const override { return size_; }

  private:
    // Of a block device, too; fstat() knows its own node alone.
    static uint64_t end_of(int fd) {
        off_t end = lseek(fd, 0, SEEK_END);
        return end < 0 ? 0 : static_cast<uint64_t>(end);
    }

    int fd_;
    uint64_t size_;
};

} // namespace us::qcow2
