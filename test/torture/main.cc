// torture: tries crash states of the data plane's layers over a simulated machine, thousands a second.
#include <getopt.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include "life.h"
#include "trace.h"

namespace {

constexpr const char *USAGE =
    "usage: torture [--seed S] [--minutes N | --states N] [--layer L] [--mutant M] [--case N [--skip "
    "A,B,...]]\n"
    "\n"
    "  --seed S      where all chance comes from (default: of the clock)\n"
    "  --minutes N   how long; --states N: how many crash states (default: 1 minute)\n"
    "  --layer L     the stacks of one layer only\n"
    "  --case N      one case alone, with its steps when it fails\n"
    "  --skip A,B    without these client requests\n"
    "  --mutant M    with a planted bug, which must be found\n"
    "  --leave DIR   leaves images there, as a power cut or a kill has left them: the first 100\n"
    "\n"
    "Exit 0: nothing found. 1: a promise was broken; seed and steps are printed. 2: bad usage.\n";

struct Options {
    uint64_t seed = 0, states = 0, only = UINT64_MAX;
    double minutes = 1;
    std::string layer, mutant = "none", skip;
    bool single = false;
};

Options options;
uint64_t current_case = 0;
uint64_t all_states = 0;
bool quiet = false;

double seconds() {
    // Not the steady clock: that one is simulated.
    auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

std::vector<const Stack *> wanted_stacks() {
    std::vector<const Stack *> wanted;
    for (const Stack &stack : stacks())
        if (options.layer.empty() || stack.layer == options.layer) wanted.push_back(&stack);
    return wanted;
}

// Mutants of the data plane's own code are programs of their own: torture-NAME.
void become_mutant(char **argv) {
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    std::string path(self, length > 0 ? static_cast<size_t>(length) : 0);
    std::string folder = path.substr(0, path.rfind('/') + 1), mutated = folder + "torture-" + options.mutant;
    if (path == mutated) return;
    execv(mutated.c_str(), argv);
    fprintf(stderr, "torture: there is no mutant \"%s\"\n", options.mutant.c_str());
    exit(2);
}

Mutant wanted_mutant(char **argv = nullptr) {
    for (const auto &[mutant, name] : mutants())
        if (name == options.mutant) return mutant;
    if (argv) become_mutant(argv);
    return Mutant::none;
}

uint64_t run_case(const std::vector<const Stack *> &from, uint64_t number, std::vector<bool> skipped = {}) {
    current_case = number;
    Case one(*from[number % from.size()], mix(options.seed, number), wanted_mutant());
    one.skipped = std::move(skipped);
    one.run();
    return one.states;
}

std::string reproduction() {
    std::string text = "--seed " + std::to_string(options.seed) + " --case " + std::to_string(current_case);
    if (!options.layer.empty()) text += " --layer " + options.layer;
    if (options.mutant != "none") text += " --mutant " + options.mutant;
    if (!options.skip.empty()) text += " --skip " + options.skip;
    return text;
}

// In a process of its own, since a failure ends it.
bool still_fails(const std::vector<const Stack *> &from, const std::vector<bool> &skipped) {
    fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
        quiet = true;
        run_case(from, current_case, skipped);
        _exit(0);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && status != 0;
}

std::vector<bool> parse_skip() {
    std::vector<bool> skipped;
    for (const char *at = options.skip.c_str(); *at;) {
        char *end;
        uint64_t number = strtoull(at, &end, 10);
        if (end == at || number >= DEEPEST * MOST_REQUESTS) {
            fprintf(stderr, "torture: --skip is a list of numbers\n");
            exit(2);
        }
        if (skipped.size() <= number) skipped.resize(number + 1);
        skipped[number] = true;
        at = *end == ',' ? end + 1 : end;
    }
    return skipped;
}

// Leaves out client requests, in ever smaller groups, as long as something fails without them.
std::vector<bool> minimise(const std::vector<const Stack *> &from, uint64_t requests) {
    std::vector<bool> skipped(requests);
    double end = seconds() + 20;
    for (uint64_t group = std::max<uint64_t>(requests / 2, 1); group > 0; group /= 2)
        for (uint64_t first = 0; first < requests && seconds() < end; first += group) {
            std::vector<bool> more = skipped;
            std::fill(more.begin() + static_cast<ptrdiff_t>(first),
                      more.begin() + static_cast<ptrdiff_t>(std::min(first + group, requests)), true);
            if (more == skipped) continue;
            if (still_fails(from, more)) skipped = more;
        }
    return skipped;
}

void report(const char *how, double begun) {
    double took = seconds() - begun;
    // Of one core, whoever else uses it.
    double cpu = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
    printf("torture: %s %" PRIu64 " crash states in %" PRIu64
           " cases, %.0f a second (%.0f a second of CPU), seed %" PRIu64 "\n",
           how, all_states, current_case + 1, static_cast<double>(all_states) / std::max(took, 1e-9),
           static_cast<double>(all_states) / std::max(cpu, 1e-9), options.seed);
    fflush(stdout);
}

int run_many(const std::vector<const Stack *> &from) {
    double begun = seconds(), told = begun;
    for (uint64_t number = 0;; number++) {
        all_states += run_case(from, number);
        double now = seconds();
        if (options.states ? all_states >= options.states : now - begun >= options.minutes * 60) break;
        if (now - told < 10) continue;
        told = now;
        report("so far", begun);
    }
    report("nothing found in", begun);
    return 0;
}

int run_one(const std::vector<const Stack *> &from) {
    current_case = options.only;
    std::vector<bool> skipped = parse_skip();
    if (options.skip.empty() && still_fails(from, {})) {
        skipped = minimise(from, DEEPEST * MOST_REQUESTS);
        for (size_t i = 0; i < skipped.size(); i++)
            if (skipped[i]) options.skip += (options.skip.empty() ? "" : ",") + std::to_string(i);
    }
    trace().on = true;
    double begun = seconds();
    all_states = run_case(from, options.only, skipped);
    report("nothing found in", begun);
    return 0;
}

void read_options(int argc, char **argv) {
    const option names[] = {{"seed", 1, nullptr, 's'},   {"minutes", 1, nullptr, 'm'},
                            {"states", 1, nullptr, 'n'}, {"layer", 1, nullptr, 'l'},
                            {"mutant", 1, nullptr, 'x'}, {"case", 1, nullptr, 'c'},
                            {"skip", 1, nullptr, 'k'},   {"leave", 1, nullptr, 'i'},
                            {"help", 0, nullptr, 'h'},   {}};
    options.seed = static_cast<uint64_t>(time(nullptr));
    auto number = [](const char *text) {
        char *end;
        uint64_t value = strtoull(text, &end, 10);
        if (end == text || *end) {
            fprintf(stderr, "torture: \"%s\" is not a number\n%s", text, USAGE);
            exit(2);
        }
        return value;
    };
    for (int c; (c = getopt_long(argc, argv, "", names, nullptr)) != -1;) {
        switch (c) {
        case 's':
            options.seed = number(optarg);
            break;
        case 'm':
            options.minutes = static_cast<double>(number(optarg));
            break;
        case 'n':
            options.states = number(optarg);
            break;
        case 'l':
            options.layer = optarg;
            break;
        case 'x':
            options.mutant = optarg;
            break;
        case 'c':
            options.only = number(optarg);
            break;
        case 'k':
            options.skip = optarg;
            break;
        case 'i':
            leaving() = {optarg, 100};
            break;
        case 'h':
            printf("%s", USAGE);
            exit(0);
        default:
            fprintf(stderr, "%s", USAGE);
            exit(2);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "%s", USAGE);
        exit(2);
    }
}

} // namespace

void fail(const char *format, ...) {
    if (quiet) _exit(1);
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!trace().on) {
        printf("torture: case %" PRIu64 " has failed after %" PRIu64 " crash states: %s\n", current_case,
               all_states, text);
        fflush(stdout);
        std::string seed = std::to_string(options.seed), number = std::to_string(current_case);
        std::vector<const char *> arguments_again = {
            "torture", "--seed", seed.c_str(), "--case", number.c_str(), "--mutant", options.mutant.c_str()};
        if (!options.layer.empty())
            arguments_again.insert(arguments_again.end(), {"--layer", options.layer.c_str()});
        arguments_again.push_back(nullptr);
        execv("/proc/self/exe", const_cast<char **>(arguments_again.data()));
        _exit(1);
    }
    trace().print();
    printf("FAILED: %s\nagain: npm run torture -- %s\n", text, reproduction().c_str());
    fflush(stdout);
    _exit(1);
}

const std::vector<std::pair<Mutant, std::string>> &mutants() {
    static const std::vector<std::pair<Mutant, std::string>> all = {
        {Mutant::none, "none"},
        {Mutant::state_not_flushed, "state-not-flushed"},
        {Mutant::drop_not_recorded, "drop-not-recorded"},
        {Mutant::dirty_not_recorded, "dirty-not-recorded"},
        {Mutant::settle_skipped, "settle-skipped"},
        {Mutant::flush_not_passed, "flush-not-passed"},
        {Mutant::fua_not_passed, "fua-not-passed"},
        {Mutant::fence_skipped, "fence-skipped"},
        {Mutant::window_ignored, "window-ignored"},
    };
    return all;
}

int main(int argc, char **argv) {
    // What one crash state gives back, the next one takes: not by way of the kernel.
    mallopt(M_MMAP_THRESHOLD, 1 << 26);
    mallopt(M_TRIM_THRESHOLD, 1 << 28);
    read_options(argc, argv);
    std::vector<const Stack *> from = wanted_stacks();
    if (from.empty()) {
        fprintf(stderr, "torture: no stack of layer \"%s\"\n", options.layer.c_str());
        return 2;
    }
    wanted_mutant(argv);
    return options.only == UINT64_MAX ? run_many(from) : run_one(from);
}
