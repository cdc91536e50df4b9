// The worker: loads one config and serves it until it is asked to stop.
#pragma once

#include <string>

#include "engine/shelf.h"
#include "server/supervisor.h"

namespace us {

// Exit statuses, of the worker and of the whole program.
enum ExitStatus { EXIT_STOPPED = 0, EXIT_BROKEN = 1, EXIT_REFUSED = 2, EXIT_NOT_STARTED = 3 };

// Serves. Reports readiness or failure on `ready_fd` (-1: to nobody).
int run_worker(const std::string &config_path, int ready_fd, Shared &shared, Shelf &shelf);

// Loads the config and prints what is wrong with it: 0 or 2.
int check_config(const std::string &config_path);

// One NBD client on standard input and output.
int run_nbd_stdio(const std::string &config_path);

} // namespace us
