// An image of this host that nobody uses, made as small as it can be.
#pragma once

#include <memory>
#include <optional>

#include "addon/image_file.h"
#include "targets/qcow2/compact.h"

namespace us::addon {

struct ImageCompacted {
    ImageHead head;
    std::optional<std::string> refusal; // it is broken, and was left as it is
    uint64_t leaks = 0;                 // clusters that nobody had used
    uint64_t file_before = 0, file_after = 0, disk_before = 0, disk_after = 0;
};

// shorten: what is behind the image's end is cut off, where that is a regular file. Throws FileError: EAGAIN
// when somebody uses it, ENOTSUP when its data lie in another file, ECANCELED once it was stopped.
ImageCompacted compact_image(const std::string &path, bool shorten, qcow2::Compaction &compaction);

} // namespace us::addon
