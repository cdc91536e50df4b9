// Media for tests, which answer at once.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "targets/qcow2/header.h"
#include "targets/qcow2/media.h"

// The result of a task that waits for nothing.
template <typename T> T finished(us::Task<T> task) {
    std::optional<T> result;
    auto take = [](us::Task<T> task, std::optional<T> &result) -> us::Task<void> {
        result.emplace(co_await task);
    };
    us::detach(take(std::move(task), result));
    if (!result) abort();
    return std::move(*result);
}

class FileMedia : public us::qcow2::Media {
  public:
    explicit FileMedia(const std::string &path, int flags = O_RDONLY)
        : fd_(open(path.c_str(), flags | O_CLOEXEC, 0600)) {
        struct stat st {};
        if (fd_ >= 0 && fstat(fd_, &st) == 0) size_ = static_cast<uint64_t>(st.st_size);
    }
    ~FileMedia() override { close(fd_); }

    us::Task<int> read(uint64_t offset, std::span<std::byte> into) override {
        while (!into.empty()) {
            ssize_t n = pread(fd_, into.data(), into.size(), static_cast<off_t>(offset));
            if (n < 0) co_return -errno;
            if (n == 0) break;
            into = into.subspan(static_cast<size_t>(n));
            offset += static_cast<uint64_t>(n);
        }
        std::fill(into.begin(), into.end(), std::byte{0});
        co_return 0;
    }
    us::Task<int> write(uint64_t offset, std::span<const std::byte> from) override {
        ssize_t n = pwrite(fd_, from.data(), from.size(), static_cast<off_t>(offset));
        if (n < 0) co_return -errno;
        if (static_cast<size_t>(n) != from.size()) co_return -EIO;
        size_ = std::max(size_, offset + from.size());
        co_return 0;
    }
    us::Task<int> flush() override { co_return fsync(fd_) == 0 ? 0 : -errno; }
    uint64_t size() const override { return size_; }

  private:
    int fd_;
    uint64_t size_ = 0;
};

class MemoryMedia : public us::qcow2::Media {
  public:
    explicit MemoryMedia(std::span<const std::byte> bytes) : bytes_(bytes) {}

    us::Task<int> read(uint64_t offset, std::span<std::byte> into) override {
        size_t have = 0;
        if (offset < bytes_.size()) have = std::min<size_t>(into.size(), bytes_.size() - offset);
        if (have != 0) memcpy(into.data(), bytes_.data() + offset, have);
        std::fill(into.begin() + static_cast<std::ptrdiff_t>(have), into.end(), std::byte{0});
        co_return 0;
    }
    us::Task<int> write(uint64_t, std::span<const std::byte>) override { co_return -EROFS; }
    us::Task<int> flush() override { co_return 0; }
    uint64_t size() const override { return bytes_.size(); }

  private:
    std::span<const std::byte> bytes_;
};

inline std::optional<us::qcow2::Refusal> open_image(us::qcow2::Media &media, us::qcow2::Header &header) {
    std::vector<std::byte> head(std::min<uint64_t>(media.size(), us::qcow2::HEADER_READ_BYTES));
    if (finished(media.read(0, head)) != 0)
        return us::qcow2::Refusal{us::qcow2::Refusal::invalid, "cannot be read"};
    return us::qcow2::parse_header(head, media.size(), header);
}
