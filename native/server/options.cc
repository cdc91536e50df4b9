#include "server/options.h"

#include <fcntl.h>
#include <getopt.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace us {

namespace {

constexpr const char *USAGE =
    "usage: ublk-stack-server --config FILE [--ready-fd N | --nbd-stdio]\n"
    "       ublk-stack-server --check-config FILE\n"
    "       ublk-stack-server --probe-engine\n"
    "\n"
    "Serves one ublk device, or the NBD exports of one stack, and starts itself again when it\n"
    "dies. ublk-stack writes FILE and starts this program; SIGTERM stops it in an orderly way.\n"
    "\n"
    "  --config FILE        the config.json of one device\n"
    "  --ready-fd N         write progress and readiness to descriptor N, as JSON lines\n"
    "  --nbd-stdio          serve one NBD client on standard input and output, then exit\n"
    "  --check-config FILE  load FILE, touch nothing, exit with 0 or 2\n"
    "  --probe-engine       say as one line of JSON whether engine uring-bpf works here, exit with 0\n"
    "\n"
    "exit status: 0 asked to stop; 2 bad usage or config; 3 could not start; 1 anything else\n";

int bad_usage(const char *problem) {
    fprintf(stderr, "ublk-stack-server: %s\n%s", problem, USAGE);
    return 2;
}

// An open descriptor, or -1.
int parse_fd(const char *text) {
    char *end = nullptr;
    errno = 0;
    long fd = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || fd < 0 || fd > 1 << 20) return -1;
    return fcntl(static_cast<int>(fd), F_GETFD) < 0 ? -1 : static_cast<int>(fd);
}

} // namespace

std::optional<Options> parse_options(int argc, char **argv, int &status) {
    enum { CONFIG = 1, READY_FD, NBD_STDIO, CHECK, PROBE, HELP };
    static const option long_options[] = {{"config", required_argument, nullptr, CONFIG},
                                          {"ready-fd", required_argument, nullptr, READY_FD},
                                          {"nbd-stdio", no_argument, nullptr, NBD_STDIO},
                                          {"check-config", required_argument, nullptr, CHECK},
                                          {"probe-engine", no_argument, nullptr, PROBE},
                                          {"help", no_argument, nullptr, HELP},
                                          {nullptr, 0, nullptr, 0}};
    Options options;
    for (int opt; (opt = getopt_long(argc, argv, "", long_options, nullptr)) != -1;) {
        switch (opt) {
        case CONFIG:
            options.config = optarg;
            break;
        case READY_FD:
            options.ready_fd = parse_fd(optarg);
            if (options.ready_fd < 0) {
                status = bad_usage("--ready-fd wants the number of an open descriptor");
                return std::nullopt;
            }
            break;
        case NBD_STDIO:
            options.mode = Options::Mode::nbd_stdio;
            break;
        case CHECK:
            options.mode = Options::Mode::check;
            options.config = optarg;
            break;
        case PROBE:
            options.mode = Options::Mode::probe;
            break;
        case HELP:
            fputs(USAGE, stdout);
            status = 0;
            return std::nullopt;
        default: // getopt has said what is wrong
            fputs(USAGE, stderr);
            status = 2;
            return std::nullopt;
        }
    }
    if (optind < argc) {
        status = bad_usage("unexpected argument");
        return std::nullopt;
    }
    if (options.config.empty() && options.mode != Options::Mode::probe) {
        status = bad_usage("no --config given");
        return std::nullopt;
    }
    return options;
}

} // namespace us
