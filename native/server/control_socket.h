// The server's control socket: a thread that answers JSON lines, and takes SIGTERM.
//
// One JSON object per line, one reply line per request, in order:
//
//   {"op":"status"}                        ServerReport in src/reconcile/server-report.ts
//   {"op":"stop"}                          {"ok":true}, then as SIGTERM
//   {"op":"readd","layer":L,"member":M}    {"ok":true}: the dropped member becomes syncing
//   {"op":"set","layer":L,"params":{…}}    {"ok":true}: the instrument goes on with these, all of its params
//   {"op":"snapshot","layer":L,…}          targets/qcow2/snapshot_verbs.h
//   {"op":"compact","layer":L,…}           targets/qcow2/compact_verbs.h
//   anything else                          {"error":"…"}
#pragma once

#include <functional>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

namespace us {

// All run on the control thread.
struct ControlHandlers {
    std::function<nlohmann::json()> status;
    std::function<void()> stop; // any number of times
    // An error text, empty when done.
    std::function<std::string(const std::string &layer, const std::string &member)> readd;
    std::function<std::string(const std::string &layer, const nlohmann::json &params)> set;
    // Of what is inside an image: snapshot and compact.
    std::function<nlohmann::json(const std::string &layer, const nlohmann::json &request)> snapshot;
};

class ControlSocket {
  public:
    // Binds FOLDER/control.sock, only for its owner, in place of a stale one. Throws std::system_error. No
    // path is needed from here on.
    ControlSocket(const std::string &folder, ControlHandlers handlers);
    // Ends the thread and removes the socket.
    ~ControlSocket();
    ControlSocket(const ControlSocket &) = delete;
    ControlSocket &operator=(const ControlSocket &) = delete;

    // Starts answering.
    void start();
    // From here on SIGTERM and SIGINT call handlers.stop on the control thread. Before, and from quick_stop()
    // on, they end the process at once with exit status 0.
    void take_signals();
    static void quick_stop();

  private:
    struct Client;
    void run();
    bool receive(Client &client); // false: gone
    bool send(Client &client);
    nlohmann::json answer(const std::string &line);

    ControlHandlers handlers_;
    int folder_fd_ = -1, listen_fd_ = -1, wake_fd_ = -1, signal_fd_ = -1;
    std::thread thread_;
};

} // namespace us
