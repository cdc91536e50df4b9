// The engines under test: the native walker, and the two BPF programs of native/bpf/walk.bpf.c.
#pragma once

#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "bpf/walk.h"
#include "stack.h"

struct bpf_object;

namespace us::differential {

// The host refuses BPF, or part of it: not a failure of what is tested.
struct Unavailable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Native {
    static uint64_t walks; // how many it has done itself
    static Answer walk(const us_table &table, const us_live &live, const us_words &words,
                       const Request &request, size_t room);
};

enum class Engine { walk, heads };

class Bpf {
  public:
    struct Info {
        uint64_t verified_insns = 0, jited_bytes = 0, runs = 0;
    };

    // With a table: frozen into the program, which sheds what it does not use.
    explicit Bpf(const std::string &object_file, const us_table *frozen = nullptr, uint32_t types = ~0u);
    ~Bpf();
    Bpf(const Bpf &) = delete;
    Bpf &operator=(const Bpf &) = delete;

    us_run &memory() { return *run_; }
    const us_run &memory() const { return *run_; }
    // Runs the first requests of the map through the program, once.
    void run(Engine engine, uint32_t nr_requests);
    Answer answer(uint32_t number) const;
    Info info(Engine engine) const;

  private:
    void ask(const std::string &object_file, const us_table *frozen, uint32_t types);
    int program(Engine engine) const;

    bpf_object *object_ = nullptr;
    us_run *run_ = nullptr;
    size_t mapped_ = 0;
};

// Counts runs of programs for as long as it lives (bpf_prog_info.run_cnt).
class RunCounts {
  public:
    RunCounts();
    ~RunCounts();
    RunCounts(const RunCounts &) = delete;
    RunCounts &operator=(const RunCounts &) = delete;

  private:
    int fd_;
};

// Whether this kernel has the RFC's ublk-bpf. Only where it has are the programs for it given to its
// verifier.
bool load_ublk_programs(const std::string &object_file);

// Throws Unavailable where this host cannot run BPF under its JIT.
void require_bpf();

} // namespace us::differential
