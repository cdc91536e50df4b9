#include "frontends/nbd/sockets.h"

#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <system_error>

#include "engine/graph.h"

namespace us::nbd {

namespace {

constexpr int backlog = 128;
constexpr int socket_buffer_bytes = 2 << 20;

[[noreturn]] void refuse(const std::string &code, const std::string &message, const std::string &path = {}) {
    throw ConfigError(code, message, {}, path);
}

[[noreturn]] void fail(int error, const std::string &what) {
    throw std::system_error(error, std::generic_category(), what);
}

// A name or a number.
template <typename Id, typename Find> Id resolve(const std::string &name, const char *kind, Find find) {
    if (name.empty()) return static_cast<Id>(-1);
    Id number = 0;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error == std::errc() && end == name.data() + name.size()) return number;
    std::optional<Id> found = find(name.c_str());
    if (!found) refuse("unknown-owner", std::string("no such ") + kind + ": \"" + name + "\"");
    return *found;
}

uid_t user_id(const std::string &name) {
    return resolve<uid_t>(name, "user", [](const char *n) -> std::optional<uid_t> {
        passwd *entry = getpwnam(n);
        return entry ? std::optional(entry->pw_uid) : std::nullopt;
    });
}
gid_t group_id(const std::string &name) {
    return resolve<gid_t>(name, "group", [](const char *n) -> std::optional<gid_t> {
        group *entry = getgrnam(n);
        return entry ? std::optional(entry->gr_gid) : std::nullopt;
    });
}

// The folder is named by its descriptor, so the length of the path does not matter (unix(7): 108 bytes).
sockaddr_un address_in(int folder_fd, const std::string &name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::string path = "/proc/self/fd/" + std::to_string(folder_fd) + "/" + name;
    if (path.size() >= sizeof address.sun_path)
        refuse("path-too-long", "socket name is too long: " + name, name);
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
}

bool somebody_listens(int folder_fd, const std::string &name) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) fail(errno, "socket");
    sockaddr_un address = address_in(folder_fd, name);
    int result = connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof address);
    bool refused = result != 0 && (errno == ECONNREFUSED || errno == ENOENT);
    close(fd);
    return !refused;
}

} // namespace

UnixSocket::UnixSocket(const std::string &path, const Access &access) : path_(path) {
    size_t slash = path.rfind('/');
    name_ = slash == std::string::npos ? path : path.substr(slash + 1);
    std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    // Short, so that any name that fits into a folder's entry has room for it.
    temporary_name_ = ".us-" + std::to_string(getpid()) + ".sock";
    uid_t uid = user_id(access.owner);
    gid_t gid = group_id(access.group);

    folder_fd_ = open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd_ < 0)
        refuse("socket-failed", "folder of the socket: " + std::string(strerror(errno)), path);
    struct stat st {};
    if (fstatat(folder_fd_, name_.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!S_ISSOCK(st.st_mode)) refuse("socket-failed", path + " exists and is not a socket", path);
        if (somebody_listens(folder_fd_, name_))
            refuse("socket-in-use", "another server listens on " + path, path);
    } else if (errno != ENOENT) {
        refuse("socket-failed", path + ": " + strerror(errno), path);
    }

    fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd_ < 0) fail(errno, "socket");
    unlinkat(folder_fd_, temporary_name_.c_str(), 0);
    sockaddr_un address = address_in(folder_fd_, temporary_name_);
    mode_t before = umask(0177);
    int result = bind(fd_, reinterpret_cast<sockaddr *>(&address), sizeof address);
    int error = errno;
    umask(before);
    if (result != 0) refuse("socket-failed", "cannot create " + path + ": " + strerror(error), path);
    if (fchownat(folder_fd_, temporary_name_.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) != 0 ||
        fchmodat(folder_fd_, temporary_name_.c_str(), access.mode, 0) != 0 ||
        fstatat(folder_fd_, temporary_name_.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        refuse("socket-failed", "owner or mode of " + path + ": " + strerror(errno), path);
    inode_ = st.st_ino;
}

UnixSocket::~UnixSocket() {
    if (fd_ >= 0) close(fd_);
    if (folder_fd_ < 0) return;
    const std::string &name = published_ ? name_ : temporary_name_;
    struct stat st {};
    if (inode_ && fstatat(folder_fd_, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == inode_)
        unlinkat(folder_fd_, name.c_str(), 0);
    close(folder_fd_);
}

void UnixSocket::publish() {
    if (::listen(fd_, backlog) != 0) fail(errno, "listen on " + path_);
    if (renameat(folder_fd_, temporary_name_.c_str(), folder_fd_, name_.c_str()) != 0)
        fail(errno, "rename the socket to " + path_);
    published_ = true;
}

TcpSockets::TcpSockets(const std::string &address) : address_(address) {
    size_t colon = address.rfind(':');
    if (colon == std::string::npos)
        refuse("bad-address", "TCP address is not HOST:PORT: \"" + address + "\"");
    std::string host = address.substr(0, colon), port = address.substr(colon + 1);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);

    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE;
    addrinfo *list = nullptr;
    int result = getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &list);
    if (result != 0) refuse("bad-address", "TCP address \"" + address + "\": " + gai_strerror(result));
    std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(list, freeaddrinfo);
    for (addrinfo *a = list; a; a = a->ai_next) {
        int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0 && errno == EAFNOSUPPORT) continue; // a kernel without IPv6
        if (fd < 0) fail(errno, "socket");
        fds_.push_back(fd);
        int on = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (a->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
        if (bind(fd, a->ai_addr, a->ai_addrlen) != 0) {
            int error = errno;
            for (int open_fd : fds_)
                close(open_fd);
            fds_.clear();
            refuse(error == EADDRINUSE ? "socket-in-use" : "socket-failed",
                   "cannot listen on " + address + ": " + strerror(error));
        }
    }
    if (fds_.empty()) refuse("bad-address", "TCP address \"" + address + "\" has nothing to listen on");
}

TcpSockets::~TcpSockets() {
    for (int fd : fds_)
        close(fd);
}

void TcpSockets::publish() {
    for (int fd : fds_)
        if (::listen(fd, backlog) != 0) fail(errno, "listen on " + address_);
}

void tune_connection(int fd) {
    // Each of these only makes it faster: a kernel that refuses one still serves.
    int bytes = socket_buffer_bytes, on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    int domain = AF_UNIX;
    socklen_t length = sizeof domain;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
    if (domain == AF_UNIX) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

} // namespace us::nbd
