// Media for tests, which answer at once.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "targets/finished.h"
#include "targets/qcow2/file_media.h"
#include "targets/qcow2/header.h"
#include "targets/qcow2/media.h"

using us::finished;

// For a FileMedia.
inline int opened(const std::string &path, int flags = O_RDONLY) {
    return open(path.c_str(), flags | O_CLOEXEC, 0600);
}

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
