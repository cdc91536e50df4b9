#include "targets/durable_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace us {

namespace {

int write_all(int fd, const std::string &text) {
    for (size_t done = 0; done < text.size();) {
        ssize_t n = write(fd, text.data() + done, text.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        done += static_cast<size_t>(n);
    }
    return fsync(fd) == 0 ? 0 : -errno;
}

} // namespace

int write_durably(int folder, const std::string &name, const std::string &text) {
    std::string beside = name + ".new";
    int fd = openat(folder, beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return -errno;
    int error = write_all(fd, text);
    if (close(fd) != 0 && error == 0) error = -errno;
    if (error == 0 && renameat(folder, beside.c_str(), folder, name.c_str()) != 0) error = -errno;
    if (error == 0 && fsync(folder) != 0) error = -errno;
    if (error != 0) unlinkat(folder, beside.c_str(), 0);
    return error;
}

int read_whole(int folder, const std::string &name, std::string &text) {
    int fd = openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -errno;
    text.clear();
    char buffer[4096];
    int error = 0;
    for (;;) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) error = -errno;
        if (n <= 0) break;
        text.append(buffer, static_cast<size_t>(n));
    }
    close(fd);
    return error;
}

} // namespace us
