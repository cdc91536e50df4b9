#include "server/control_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <list>
#include <system_error>
#include <vector>

#include "engine/privileges.h"

namespace us {

using nlohmann::json;

namespace {

constexpr size_t MAX_CLIENTS = 32;
constexpr size_t MAX_LINE = 64 << 10;
constexpr size_t MAX_UNREAD = 1 << 20; // replies that a client has not taken

constexpr const char *NAME = "control.sock";
constexpr const char *FRESH = "control.sock.new";

[[noreturn]] void fail(const std::string &what) {
    throw std::system_error(errno, std::generic_category(), what);
}

// Where the signal handler says that it was called; -1: nobody would hear it.
std::atomic<int> heard_by{-1};

void on_stop_signal(int) {
    int fd = heard_by;
    if (fd < 0) _exit(0);
    uint64_t one = 1;
    [[maybe_unused]] ssize_t written = write(fd, &one, sizeof(one));
}

} // namespace

struct ControlSocket::Client {
    int fd;
    std::string in{}, out{};
};

ControlSocket::ControlSocket(const std::string &folder, ControlHandlers handlers)
    : handlers_(std::move(handlers)) {
    folder_fd_ = open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd_ < 0) fail("cannot open " + folder);
    wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    signal_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    listen_fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (wake_fd_ < 0 || signal_fd_ < 0 || listen_fd_ < 0) fail("cannot create the control socket");

    // Through /proc, since a whole path may be longer than the 108 bytes of an address.
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", folder_fd_, FRESH);
    unlinkat(folder_fd_, FRESH, 0);
    mode_t before = umask(0177);
    int bound = bind(listen_fd_, reinterpret_cast<sockaddr *>(&address), sizeof(address));
    umask(before);
    if (bound != 0 || listen(listen_fd_, 16) != 0 || renameat(folder_fd_, FRESH, folder_fd_, NAME) != 0)
        fail("cannot listen on " + folder + "/" + NAME);
}

ControlSocket::~ControlSocket() {
    if (thread_.joinable()) {
        eventfd_write(wake_fd_, 1);
        thread_.join();
    }
    heard_by = -1;
    unlinkat(folder_fd_, NAME, 0);
    for (int fd : {listen_fd_, signal_fd_, wake_fd_, folder_fd_})
        close(fd);
}

void ControlSocket::start() {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] {
        drop_capabilities();
        run();
    });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// A handler and no mask: threads that the engine starts need not know.
void ControlSocket::quick_stop() {
    heard_by = -1;
    struct sigaction action {};
    action.sa_handler = on_stop_signal;
    action.sa_flags = SA_RESTART;
    for (int signal : {SIGTERM, SIGINT})
        sigaction(signal, &action, nullptr);
}

void ControlSocket::take_signals() {
    heard_by = signal_fd_;
}

json ControlSocket::answer(const std::string &line) {
    json request = json::parse(line, nullptr, false);
    if (!request.is_object()) return {{"error", "not a JSON object"}};
    auto text = [&](const char *key) {
        auto value = request.find(key);
        return value != request.end() && value->is_string() ? value->get<std::string>() : std::string();
    };
    std::string op = text("op");
    if (op == "status") return handlers_.status();
    if (op == "stop") {
        handlers_.stop();
        return {{"ok", true}};
    }
    if (op == "readd") {
        std::string error = handlers_.readd(text("layer"), text("member"));
        return error.empty() ? json{{"ok", true}} : json{{"error", error}};
    }
    if (op == "set") {
        std::string error = handlers_.set(text("layer"), request.value("params", json::object()));
        return error.empty() ? json{{"ok", true}} : json{{"error", error}};
    }
    if (op == "snapshot" || op == "compact") return handlers_.snapshot(text("layer"), request);
    return {{"error", "unknown op \"" + op + "\""}};
}

bool ControlSocket::receive(Client &client) {
    char buffer[4096];
    for (;;) {
        ssize_t n = recv(client.fd, buffer, sizeof(buffer), 0);
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        if (n == 0) return false;
        client.in.append(buffer, static_cast<size_t>(n));
        for (size_t end; (end = client.in.find('\n')) != std::string::npos;) {
            client.out +=
                answer(client.in.substr(0, end)).dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
            client.in.erase(0, end + 1);
        }
        if (client.in.size() > MAX_LINE || client.out.size() > MAX_UNREAD) return false;
    }
}

bool ControlSocket::send(Client &client) {
    while (!client.out.empty()) {
        ssize_t n = ::send(client.fd, client.out.data(), client.out.size(), MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        client.out.erase(0, static_cast<size_t>(n));
    }
    return true;
}

void ControlSocket::run() {
    pthread_setname_np(pthread_self(), "ublk-control");
    std::list<Client> clients;
    for (bool running = true; running;) {
        std::vector<pollfd> fds = {{wake_fd_, POLLIN, 0}, {signal_fd_, POLLIN, 0}, {listen_fd_, POLLIN, 0}};
        if (clients.size() >= MAX_CLIENTS) fds[2].events = 0;
        for (Client &client : clients)
            fds.push_back({client.fd, static_cast<short>(client.out.empty() ? POLLIN : POLLIN | POLLOUT), 0});
        if (poll(fds.data(), fds.size(), -1) < 0) continue;

        running = fds[0].revents == 0;
        if (eventfd_t times; eventfd_read(signal_fd_, &times) == 0) handlers_.stop();
        auto client = clients.begin();
        for (size_t i = 3; i < fds.size(); i++) {
            bool alive = true;
            if (fds[i].revents & (POLLIN | POLLHUP | POLLERR)) alive = receive(*client);
            if (alive) alive = send(*client);
            if (!alive) close(client->fd);
            client = alive ? std::next(client) : clients.erase(client);
        }
        if (fds[2].revents & POLLIN) {
            int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (fd >= 0) clients.push_back({.fd = fd});
        }
    }
    for (Client &client : clients) {
        send(client); // the answer to "stop" may still be here
        close(client.fd);
    }
}

} // namespace us
