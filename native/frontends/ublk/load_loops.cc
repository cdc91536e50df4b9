#include "frontends/ublk/load_loops.h"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "engine/log.h"

namespace us::ublk {

namespace {

// Signals are for the main thread, and would interrupt the verifier elsewhere.
class NoSignals {
  public:
    NoSignals() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~NoSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    NoSignals(const NoSignals &) = delete;
    NoSignals &operator=(const NoSignals &) = delete;

  private:
    sigset_t before_;
};

using Kept = std::vector<std::optional<VerifiedProgram>>;

Kept take(Shelf &shelf, size_t queues) {
    Kept kept(queues);
    for (Shelf::Item &item : shelf.take_all())
        if (std::optional<VerifiedProgram::Kept> one = VerifiedProgram::from(std::move(item)))
            if (one->queue < queues) kept[one->queue] = std::move(one->program);
    return kept;
}

// How many could take what was kept.
size_t load_all(const std::vector<KernelLoop *> &loops, Kept kept) {
    std::atomic<size_t> next{0}, taken{0};
    auto load_some = [&] {
        try {
            for (size_t i; (i = next.fetch_add(1)) < loops.size();)
                taken += loops[i]->load(std::move(kept[i]));
        } catch (...) {
            next = loops.size(); // one that is refused is all that it takes
            throw;
        }
    };
    size_t processors = std::max(1u, std::thread::hardware_concurrency());
    std::vector<std::future<void>> helpers;
    {
        NoSignals inherited;
        for (size_t i = 1; i < std::min(processors, loops.size()); i++)
            helpers.push_back(std::async(std::launch::async, load_some));
    }
    load_some();
    for (std::future<void> &helper : helpers)
        helper.get();
    return taken;
}

} // namespace

void load_loops(const std::vector<KernelLoop *> &loops, Shelf &shelf) {
    size_t taken = load_all(loops, take(shelf, loops.size()));
    if (taken > 0)
        log(Level::info, "verified programs of the server before: " + std::to_string(taken) + " of " +
                             std::to_string(loops.size()));
    try {
        for (size_t i = 0; i < loops.size(); i++)
            loops[i]->program().put(shelf, static_cast<uint32_t>(i));
    } catch (const std::system_error &full) {
        log(Level::warn, std::string(full.what()) + ": it will load its programs anew");
    }
}

} // namespace us::ublk
