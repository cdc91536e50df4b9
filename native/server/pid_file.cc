#include "server/pid_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace us {

PidFile::PidFile(const std::string &folder, std::string name) : name_(std::move(name)) {
    auto fail = [&](const char *what) {
        int error = errno;
        disown();
        throw std::system_error(error, std::generic_category(), what + folder + "/" + name_);
    };
    folder_fd_ = open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd_ < 0) fail("cannot open the folder of ");
    fd_ = openat(folder_fd_, name_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) fail("cannot create ");
    // Not flock(): a lock of the open file description, which F_OFD_GETLK of others can see.
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    held_ = fcntl(fd_, F_OFD_SETLK, &lock) == 0;
    if (!held_) return;
    std::string text = std::to_string(getpid()) + "\n";
    if (ftruncate(fd_, 0) != 0 || write(fd_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        fail("cannot write ");
}

PidFile::~PidFile() {
    if (held_) unlinkat(folder_fd_, name_.c_str(), 0);
    disown();
}

void PidFile::disown() {
    held_ = false;
    for (int *fd : {&fd_, &folder_fd_}) {
        if (*fd >= 0) ::close(*fd);
        *fd = -1;
    }
}

} // namespace us
