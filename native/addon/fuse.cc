#include "addon/fuse.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "addon/promise.h"

namespace us::addon {

namespace {

class Fd {
  public:
    explicit Fd(int fd) : fd_(fd) {}
    ~Fd() {
        if (fd_ >= 0) close(fd_);
    }
    Fd(const Fd &) = delete;
    Fd &operator=(const Fd &) = delete;
    int get() const { return fd_; }
    int release() { return std::exchange(fd_, -1); }

  private:
    int fd_;
};

[[noreturn]] void fail(int error, const std::string &what) {
    throw std::system_error(error, std::generic_category(), what);
}

int must(int result, const char *what) {
    if (result < 0) fail(errno, what);
    return result;
}

// What the helper expects its end of the socket to be, and where its words go.
constexpr int HELPER_SOCKET = 3;
constexpr int HELPER_ERRORS = 2;

// The descriptor that the helper sends; -1 when it ended without one.
int receive_fd(int socket) {
    char byte = 0;
    iovec vector{&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t got = 0;
    do
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    const cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return -1;
    int fd = -1;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

std::string words_in(int fd) {
    std::array<char, 512> text{};
    const ssize_t got = pread(fd, text.data(), text.size(), 0);
    std::string words(text.data(), got > 0 ? static_cast<size_t>(got) : 0);
    while (!words.empty() && words.back() == '\n')
        words.pop_back();
    return words;
}

// A plain user's mounts are made by fusermount3, which belongs to root and sends back the descriptor.
int mount_by_helper(const std::string &path) {
    std::array<int, 2> pair{};
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), "socketpair");
    Fd ours(pair[0]), theirs(pair[1]);
    Fd words(must(memfd_create("words", MFD_CLOEXEC), "memfd_create"));
    // Above the numbers that the child's are to become: a duplicate must not fall upon one that is still
    // needed.
    Fd sent(must(fcntl(theirs.get(), F_DUPFD_CLOEXEC, HELPER_SOCKET + 1), "dup"));
    Fd said(must(fcntl(words.get(), F_DUPFD_CLOEXEC, HELPER_SOCKET + 1), "dup"));

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, sent.get(), HELPER_SOCKET);
    posix_spawn_file_actions_adddup2(&actions, said.get(), HELPER_ERRORS);
    std::string program = "fusermount3", option = "-o", options = "fsname=ublk-stack,default_permissions",
                end = "--", place = path;
    const std::array arguments{program.data(), option.data(), options.data(),
                               end.data(),     place.data(),  static_cast<char *>(nullptr)};
    std::string socket = "_FUSE_COMMFD=" + std::to_string(HELPER_SOCKET);
    std::vector<char *> environment{socket.data()};
    for (char **entry = environ; *entry; entry++)
        environment.push_back(*entry);
    environment.push_back(nullptr);
    pid_t pid = 0;
    const int error =
        posix_spawnp(&pid, program.c_str(), &actions, nullptr, arguments.data(), environment.data());
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) fail(error, "fusermount3 (Debian: fuse3)");
    // Ours alone is left, so that the end of the helper is the end of the stream.
    close(theirs.release());
    close(sent.release());
    Fd fuse(receive_fd(ours.get()));
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (fuse.get() < 0) fail(EPERM, words_in(words.get()));
    return fuse.release();
}

int mount_file(const std::string &path) {
    Fd fuse(must(open("/dev/fuse", O_RDWR | O_CLOEXEC), "/dev/fuse"));
    const std::string options = "fd=" + std::to_string(fuse.get()) +
                                ",rootmode=100000,user_id=" + std::to_string(getuid()) +
                                ",group_id=" + std::to_string(getgid()) + ",allow_other,default_permissions";
    if (mount("ublk-stack", path.c_str(), "fuse", MS_NOSUID | MS_NODEV | MS_NOATIME, options.c_str()) == 0)
        return fuse.release();
    if (errno != EPERM) fail(errno, "mount");
    return mount_by_helper(path);
}

} // namespace

Napi::Value fuse_mount(const Napi::CallbackInfo &info) {
    return promise_of(
        info.Env(), [path = info[0].As<Napi::String>().Utf8Value()] { return mount_file(path); },
        [](Napi::Env env, int fd) -> Napi::Value { return Napi::Number::New(env, fd); });
}

} // namespace us::addon
