// One life of a server: opened, settled, used, and ended in order. At any step of it others begin: what it
// would leave behind if it were killed there, or the power were cut, is opened again by production code.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "clients.h"
#include "kernel.h"
#include "snapshot_clients.h"
#include "stacks.h"
#include "targets/executor.h"

constexpr uint32_t DEEPEST = 4;        // lives within lives
constexpr uint64_t MOST_REQUESTS = 64; // of clients, in one life

struct Case {
    Case(const Stack &stack, uint64_t seed, Mutant mutant);

    const Stack &stack;
    uint64_t seed;
    Mutant mutant;
    std::vector<bool> skipped; // client requests that are left out: depth × MOST_REQUESTS + n-th
    uint64_t states = 0;       // crash states that were opened
    uint64_t next_write = 1, next_tag = 1;
    nlohmann::json config;

    void run();

  private:
    void fill(Disk &disk, std::vector<Content> &initial);
};

class Life {
  public:
    enum class Before { nothing, kill, power_cut };

    // before: what the world has just gone through. depth: lives around this one.
    Life(Case &of, World world, uint64_t seed, uint32_t depth);
    ~Life();
    Life(const Life &) = delete;
    Life &operator=(const Life &) = delete;

    void run();

  private:
    struct Served {
        std::unique_ptr<us::Queue> queue;
        Kernel::Ring *ring = nullptr;
        uint64_t turn_ns = UINT64_MAX; // when its thread gets the CPU
    };

    void choose_faults();
    bool open();
    void add_queue();
    void use();
    void check_all();
    void end();

    // ---- what happens next
    void step();
    template <typename Condition> void drive(const char *what, Condition condition);
    uint64_t turn_of(Served &served);
    uint64_t next_at(Served *&next); // nullptr: the kernel's event

    // ---- what is there
    bool all_copied() const;
    void take_all_back();
    void check_contents();

    // ---- crash states
    void maybe_crash();
    void crash(uint64_t seed);

    Case &case_;
    uint64_t seed_;
    uint32_t depth_;
    Kernel *outer_;
    us::Executor *outer_executor_;
    Prng prng_;
    Kernel kernel_;
    uint64_t crash_points_ = 0, crash_odds_ = 0;
    std::unique_ptr<us::Graph> graph_;
    std::vector<Served> queues_;
    std::unique_ptr<Clients> clients_;
    std::unique_ptr<SnapshotClients> snapshots_;
    uint64_t steps_ = 0;
};
