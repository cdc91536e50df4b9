// Small files that must survive a power cut whole: the old content or the new one.
#pragma once

#include <optional>
#include <string>

namespace us {

// Replaces `name` in the folder by `text`: written beside it, flushed, renamed, folder flushed. 0 or -errno.
int write_durably(int folder, const std::string &name, const std::string &text);

// -ENOENT when there is none.
int read_whole(int folder, const std::string &name, std::string &text);

} // namespace us
