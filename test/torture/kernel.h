// The simulated kernel under one server: rings, files, locks, clock. The production code of the data plane
// calls it where it would call libc (syscalls.cc, linked by --wrap) and liburing (uring.cc). Nothing happens
// by itself: whoever drives it takes one event after the other, in virtual time.
#pragma once

#include <liburing.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "disk.h"
#include "faults.h"
#include "folder.h"
#include "images.h"
#include "ledger.h"

// What a server leaves behind.
struct World {
    World(const std::vector<Content> &initial) : ledger(initial) {}

    std::vector<Disk> disks;
    Folder state, run;
    Ledger ledger;
    Snapshots snapshots;
    uint32_t boots = 1;
    bool keeps_discarded = false; // a discard of an image of version 2 may change nothing
    bool narrow = false;          // of images: there may be no room for what is written
    bool flawed = false;          // something has failed, in this life of a server or before
    bool direct = false;          // no page cache that forgets what it could not write
};

class Kernel {
  public:
    struct Ring;

    // A transfer, flush or the like on its way; after a kill it belongs to nobody and still ends.
    struct Operation {
        Ring *ring; // nullptr: its server is dead
        io_uring_sqe sqe;
        int disk; // -1: the wake-up of a ring
        uint64_t request, due_ns;
    };
    struct Ring {
        io_uring *ring = nullptr;
        std::vector<int> files;
        std::vector<io_uring_sqe> sqes;
        std::vector<io_uring_cqe> cqes;
        unsigned sq_head = 0, sq_tail = 0, cq_head = 0, cq_tail = 0;
    };
    struct Description { // an open file
        enum { free, disk, small, folder, event } kind = free;
        int disk_index = -1;
        std::shared_ptr<Inode> inode;
        Folder *in = nullptr;
        size_t position = 0;
        uint64_t counter = 0;
    };

    Kernel(World world, const Faults &faults, uint64_t seed);

    static Kernel *current; // set by whoever lets a server run

    // ---- driving
    uint64_t next_due() const; // UINT64_MAX: nothing is on its way
    void take_next();          // the clock goes on to it
    void let_pass(uint64_t ns);
    void submit_entries(Ring &ring);
    bool has_work(const Ring &ring) const; // entries to be submitted, or completions
    std::string boot_id() const { return "boot-" + std::to_string(world.boots); }

    // After a kill: what is under way goes on without anybody to answer to.
    void inherit(const Kernel &dead);
    void finish_inherited();

    // ---- offload.cc
    void submit_job(std::function<void()> job);
    void run_jobs();

    // ---- of the calls
    void forget(Ring &ring);
    void event_written(int fd);
    int new_file(Description description);
    Description *file(int fd);
    bool is_locked(int disk) const; // by requests of a dead server
    // -errno, or what the call answers. Both act on the disk at once.
    int64_t transfer(int disk, bool write, uint64_t offset, uint64_t length, std::byte *data, bool durable);
    int64_t lose(int disk, uint64_t done);
    int flush(int disk, uint64_t limit);
    int zero(int disk, int mode, uint64_t offset, uint64_t length);
    bool state_fails();
    void crash_point() {
        if (on_crash_point) on_crash_point();
    }

    World world;
    Faults faults;
    Prng prng;
    Mutant mutant = Mutant::none;
    uint64_t now_ns = 0;
    uint64_t injected = 0;  // faults that the server has seen
    std::vector<bool> told; // by disk: this server was told of lost writes
    std::function<void()> on_crash_point;
    bool blocking = false; // whether waiting for completions takes events
    std::vector<Ring *> rings;

  private:
    static constexpr int FIRST_FD = 10'000; // real files have lower numbers

    uint64_t latency(uint64_t slow);
    void execute(Operation &operation);
    int64_t result_of(const Operation &operation);
    void complete(Ring &ring, uint64_t user_data, int64_t result);

    std::vector<Description> files_;
    std::vector<Operation> operations_;
    struct Job {
        std::function<void()> fn;
        uint64_t due_ns;
    };
    std::vector<Job> jobs_; // one after the other
    uint64_t requests_ = 0; // so many have been begun
};
