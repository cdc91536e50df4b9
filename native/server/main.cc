// ublk-stack-server: the lean program that serves one device of a stack.

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "engine/log.h"
#include "engine/shelf.h"
#include "frontends/ublk/kernel_probe.h"
#include "server/options.h"
#include "server/sandbox.h"
#include "server/supervisor.h"
#include "server/worker.h"

namespace {

int serve(const us::Options &options) {
    namespace fs = std::filesystem;
    // config.json lies in RUN/stacks/STACK/DEVICE/.
    fs::path config = fs::absolute(options.config), folder = config.parent_path();
    us::log_identity(folder.parent_path().filename(), folder.filename());
    if (chdir("/") != 0) perror("chdir /");
    us::become_io_flusher();
    us::Shelf shelf;
    auto worker = [&](int ready_fd, us::Shared &shared) {
        return us::run_worker(config, ready_fd, shared, shelf);
    };
    return us::supervise({.run_dir = folder, .ready_fd = options.ready_fd}, worker);
}

int probe_engine() {
    us::ublk::KernelProbe probe = us::ublk::probe_kernel();
    nlohmann::json line = {
        {"engine", "uring-bpf"}, {"works", probe.works}, {"reason", probe.reason}, {"log", probe.log}};
    puts(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return 0;
}

} // namespace

int main(int argc, char **argv) {
    int status = 0;
    std::optional<us::Options> options = us::parse_options(argc, argv, status);
    if (!options) return status;
    signal(SIGPIPE, SIG_IGN);
    try {
        switch (options->mode) {
        case us::Options::Mode::check:
            return us::check_config(options->config);
        case us::Options::Mode::nbd_stdio:
            return us::run_nbd_stdio(options->config);
        case us::Options::Mode::probe:
            return probe_engine();
        case us::Options::Mode::serve:
            return serve(*options);
        }
    } catch (const std::exception &error) {
        us::log(us::Level::error, error.what());
    }
    return us::EXIT_NOT_STARTED;
}
