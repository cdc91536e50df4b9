// Sockets to listen on: nobody can connect before everything about them is right.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace us::nbd {

// As in Access of src/compile/table.ts.
struct Access {
    std::string owner, group; // empty: leave it
    unsigned mode = 0600;
};

// A unix socket that appears under its name only when it is ready.
//
//   bound    under a temporary name in the same folder, with its owner and mode; not listening
//   published  listening, then renamed over whatever stale socket had the name: there is no moment without a
//   socket
//
// The folder is held open, so that publishing works after the process has left that file system behind.
class UnixSocket {
  public:
    // Refuses a path that is no socket, or one that somebody listens on. Throws ConfigError,
    // std::system_error.
    UnixSocket(const std::string &path, const Access &access);
    // Removes the file, if it is still this one.
    ~UnixSocket();
    UnixSocket(const UnixSocket &) = delete;
    UnixSocket &operator=(const UnixSocket &) = delete;

    void publish(); // throws std::system_error
    int fd() const { return fd_; }

  private:
    std::string path_, name_, temporary_name_;
    int folder_fd_ = -1, fd_ = -1;
    bool published_ = false;
    unsigned long long inode_ = 0;
};

// TCP sockets for every address of "HOST:PORT" or "[HOST]:PORT", bound and not listening.
class TcpSockets {
  public:
    // Throws ConfigError.
    explicit TcpSockets(const std::string &address);
    ~TcpSockets();
    TcpSockets(const TcpSockets &) = delete;
    TcpSockets &operator=(const TcpSockets &) = delete;

    void publish(); // throws std::system_error
    const std::vector<int> &fds() const { return fds_; }

  private:
    std::string address_;
    std::vector<int> fds_;
};

// For a connection that was accepted: buffers for streaming, no delay, detection of dead peers.
void tune_connection(int fd);

} // namespace us::nbd
