#include "server/supervisor.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <optional>

#include "engine/log.h"
#include "server/pid_file.h"
#include "server/ready.h"
#include "server/restart_policy.h"

namespace us {

namespace {

int64_t monotonic_ms() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000ll + now.tv_nsec / 1'000'000;
}

std::string how_it_died(int status) {
    if (WIFSIGNALED(status)) return std::string("was killed by signal ") + strsignal(WTERMSIG(status));
    return "exited with " + std::to_string(WEXITSTATUS(status));
}

class Supervisor {
  public:
    Supervisor(const SupervisorOptions &options, const Worker &worker)
        : worker_(worker), ready_fd_(options.ready_fd), pid_file_(options.run_dir, "supervisor.pid") {}

    int run();

  private:
    void start_worker();
    std::optional<int> reaped(int status); // the exit status, when it is over
    void close_ready();

    const Worker &worker_;
    int ready_fd_;
    PidFile pid_file_;
    Shared *shared_ = nullptr;
    sigset_t waited_{}, before_{};
    RestartPolicy policy_;
    pid_t child_ = -1;
    bool ever_ready_ = false;
    bool stopping_ = false;
    int64_t start_at_ms_ = -1; // of the next worker; -1: one runs
};

void Supervisor::close_ready() {
    if (ready_fd_ >= 0) close(ready_fd_);
    ready_fd_ = -1;
}

void Supervisor::start_worker() {
    start_at_ms_ = -1;
    shared_->ready_ms = 0;
    child_ = fork();
    if (child_ < 0) {
        log(Level::error, std::string("cannot fork: ") + strerror(errno));
        start_at_ms_ = monotonic_ms() + RestartPolicy::MAX_PAUSE_MS;
        return;
    }
    if (child_ > 0) return;
    pid_file_.disown();
    sigprocmask(SIG_SETMASK, &before_, nullptr);
    _exit(worker_(ready_fd_, *shared_));
}

std::optional<int> Supervisor::reaped(int status) {
    bool was_ready = shared_->ready_ms != 0;
    ever_ready_ = ever_ready_ || was_ready;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    if (stopping_) {
        // Before it had a handler: nothing had been begun.
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) return 0;
        log(Level::error, "the server " + how_it_died(status) + " while stopping");
        return 1;
    }
    if (!ever_ready_ && WIFEXITED(status) && (WEXITSTATUS(status) == 2 || WEXITSTATUS(status) == 3))
        return WEXITSTATUS(status);

    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    std::optional<int64_t> pause = policy_.after({monotonic_ms(), shared_->ready_ms, killed});
    if (!pause) {
        log(Level::error, "the server " + how_it_died(status) + "; giving up after " +
                              std::to_string(RestartPolicy::MAX_DEATHS) + " failures in a minute");
        Ready(ready_fd_).failed("server-died", "the server " + how_it_died(status) + " again and again");
        return 3;
    }
    log(Level::warn, "the server " + how_it_died(status) + "; starting it again" +
                         (*pause > 0 ? " in " + std::to_string(*pause) + " ms" : ""));
    start_at_ms_ = monotonic_ms() + *pause;
    return std::nullopt;
}

int Supervisor::run() {
    if (!pid_file_.held()) {
        std::string message = "another server already runs for this device";
        log(Level::error, message);
        Ready(ready_fd_).failed("device-in-use", message);
        return 3;
    }
    void *memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        log(Level::error, std::string("cannot map shared memory: ") + strerror(errno));
        return 3;
    }
    shared_ = new (memory) Shared;
    shared_->supervisor_pid = getpid();
    sigemptyset(&waited_);
    for (int signal : {SIGCHLD, SIGTERM, SIGINT, SIGUSR1})
        sigaddset(&waited_, signal);
    sigprocmask(SIG_BLOCK, &waited_, &before_);

    start_worker();
    for (;;) {
        timespec limit{};
        bool starts_later = start_at_ms_ >= 0;
        if (starts_later) {
            int64_t left = start_at_ms_ - monotonic_ms();
            if (left <= 0) {
                start_worker();
                continue;
            }
            limit = {left / 1000, left % 1000 * 1'000'000};
        }
        int signal = starts_later ? sigtimedwait(&waited_, nullptr, &limit) : sigwaitinfo(&waited_, nullptr);
        if (signal == SIGUSR1) {
            ever_ready_ = true;
            close_ready();
        } else if (signal == SIGTERM || signal == SIGINT) {
            stopping_ = true;
            if (starts_later) return 0;
            kill(child_, SIGTERM);
        } else if (signal == SIGCHLD) {
            int status = 0;
            if (waitpid(child_, &status, WNOHANG) != child_) continue;
            if (std::optional<int> result = reaped(status)) return *result;
        }
    }
}

} // namespace

int supervise(const SupervisorOptions &options, const Worker &worker) {
    return Supervisor(options, worker).run();
}

void report_ready(Shared &shared) {
    shared.ready_ms = monotonic_ms();
    // Orphaned: the parent is then somebody else, whom the signal would hurt.
    if (getppid() == shared.supervisor_pid) kill(shared.supervisor_pid, SIGUSR1);
}

} // namespace us
