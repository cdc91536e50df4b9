#include "kernel.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>

#include "trace.h"

Kernel *Kernel::current = nullptr;

Kernel::Kernel(World world, const Faults &faults, uint64_t seed)
    : world(std::move(world)), faults(faults), prng(seed), requests_(1) {
    this->faults.disks.resize(this->world.disks.size());
    told.resize(this->world.disks.size());
}

// Most are quick; some take as long as a hundred others, so that everything may overtake everything.
uint64_t Kernel::latency(uint64_t slow) {
    uint64_t usual = 1'000 + prng.below(20'000);
    return (prng.one_in(8) ? usual * (1 + prng.below(100)) : usual) * slow;
}

// ---------------------------------------------------------------- events

uint64_t Kernel::next_due() const {
    uint64_t due = jobs_.empty() ? UINT64_MAX : jobs_.front().due_ns;
    for (const Operation &operation : operations_)
        due = std::min(due, operation.due_ns);
    return due;
}

void Kernel::take_next() {
    auto earlier = [](const Operation &a, const Operation &b) { return a.due_ns < b.due_ns; };
    auto first = std::min_element(operations_.begin(), operations_.end(), earlier);
    if (!jobs_.empty() && (first == operations_.end() || jobs_.front().due_ns <= first->due_ns)) {
        Job job = std::move(jobs_.front());
        jobs_.erase(jobs_.begin());
        now_ns = std::max(now_ns, job.due_ns);
        job.fn();
    } else {
        if (first == operations_.end() || first->due_ns == UINT64_MAX) fail("the server waits for nothing");
        Operation operation = *first;
        operations_.erase(first);
        now_ns = std::max(now_ns, operation.due_ns);
        execute(operation);
    }
    crash_point();
}

void Kernel::let_pass(uint64_t ns) {
    uint64_t end = now_ns + ns;
    while (next_due() <= end)
        take_next();
    now_ns = end;
}

void Kernel::submit_job(std::function<void()> job) {
    uint64_t before = jobs_.empty() ? now_ns : jobs_.back().due_ns;
    jobs_.push_back({std::move(job), before + latency(1)});
}

void Kernel::run_jobs() {
    while (!jobs_.empty()) {
        Job job = std::move(jobs_.front());
        jobs_.erase(jobs_.begin());
        job.fn();
    }
}

// ---------------------------------------------------------------- rings

bool Kernel::has_work(const Ring &ring) const {
    return ring.ring->sq.sqe_tail != ring.sq_head || ring.cq_head != ring.cq_tail;
}

void Kernel::submit_entries(Ring &ring) {
    while (ring.sq_head != ring.ring->sq.sqe_tail) {
        const io_uring_sqe &sqe = ring.sqes[ring.sq_head++ & ring.ring->sq.ring_mask];
        int fd = sqe.flags & IOSQE_FIXED_FILE ? ring.files[static_cast<size_t>(sqe.fd)] : sqe.fd;
        Description *description = file(fd);
        if (!description) fail("an entry of the ring has no file (fd %d, opcode %d)", fd, sqe.opcode);
        int disk = description->kind == Description::disk ? description->disk_index : -1;
        uint64_t due = UINT64_MAX;
        if (disk >= 0) due = now_ns + latency(faults.disks[static_cast<size_t>(disk)].slow);
        if (disk < 0 && description->counter) due = now_ns;
        operations_.push_back({&ring, sqe, disk, requests_++, due});
        operations_.back().sqe.fd = fd;
        crash_point();
    }
}

void Kernel::forget(Ring &ring) {
    std::erase(rings, &ring);
    std::erase_if(operations_, [&](const Operation &o) { return o.ring == &ring; });
}

void Kernel::complete(Ring &ring, uint64_t user_data, int64_t result) {
    unsigned mask = ring.ring->cq.ring_mask;
    if (ring.cq_tail - ring.cq_head > mask) fail("the completion queue overflows");
    io_uring_cqe &cqe = ring.cqes[ring.cq_tail++ & mask];
    cqe.user_data = user_data;
    cqe.res = static_cast<int32_t>(result);
    cqe.flags = 0;
}

void Kernel::execute(Operation &operation) {
    int64_t result;
    if (operation.disk < 0) {
        Description &event = *file(operation.sqe.fd);
        memcpy(reinterpret_cast<void *>(operation.sqe.addr), &event.counter, sizeof event.counter);
        event.counter = 0;
        result = sizeof event.counter;
    } else {
        result = result_of(operation);
    }
    if (operation.ring) complete(*operation.ring, operation.sqe.user_data, result);
}

int64_t Kernel::result_of(const Operation &operation) {
    const io_uring_sqe &sqe = operation.sqe;
    auto *data = reinterpret_cast<std::byte *>(sqe.addr);
    switch (sqe.opcode) {
    case IORING_OP_READ:
        if (!operation.ring) return 0; // nobody's memory any more
        return transfer(operation.disk, false, sqe.off, sqe.len, data, false);
    case IORING_OP_WRITE:
        if (!operation.ring && sqe.len > SECTOR && prng.one_in(4)) // it was on its way, and is torn
            return transfer(operation.disk, true, sqe.off, (prng.below(sqe.len / SECTOR) + 1) * SECTOR, data,
                            false);
        return transfer(operation.disk, true, sqe.off, sqe.len, data, sqe.rw_flags & RWF_DSYNC);
    case IORING_OP_FSYNC:
        if (!operation.ring)
            return 0; // whether it failed, nobody hears: the successor is told (Disk::owes_error)
        return flush(operation.disk, operation.request);
    case IORING_OP_FALLOCATE:
        return zero(operation.disk, static_cast<int>(sqe.len), sqe.off, sqe.addr);
    case IORING_OP_FADVISE:
        return 0;
    default:
        fail("the simulated kernel does not know io_uring's operation %d: teach it in kernel.cc", sqe.opcode);
    }
}

// ---------------------------------------------------------------- a dead server's requests

void Kernel::inherit(const Kernel &dead) {
    for (const Operation &operation : dead.operations_) {
        if (operation.disk < 0) continue;
        if (prng.one_in(4)) continue; // had not been begun, and never will be
        operations_.push_back(operation);
        operations_.back().ring = nullptr;
        operations_.back().due_ns = now_ns + prng.below(3'000'000);
    }
    requests_ = dead.requests_;
}

void Kernel::finish_inherited() {
    while (!operations_.empty()) {
        auto next = operations_.begin() + static_cast<ptrdiff_t>(prng.below(operations_.size()));
        Operation operation = *next;
        operations_.erase(next);
        execute(operation);
    }
}

bool Kernel::is_locked(int disk) const {
    if (mutant == Mutant::fence_skipped) return false;
    return std::any_of(operations_.begin(), operations_.end(),
                       [&](const Operation &o) { return o.disk == disk && !o.ring; });
}

// ---------------------------------------------------------------- files

int Kernel::new_file(Description description) {
    auto free = std::find_if(files_.begin(), files_.end(),
                             [](const Description &d) { return d.kind == Description::free; });
    if (free == files_.end()) free = files_.insert(free, Description{});
    int fd = FIRST_FD + static_cast<int>(free - files_.begin());
    *free = std::move(description);
    return fd;
}

Kernel::Description *Kernel::file(int fd) {
    if (fd < FIRST_FD || static_cast<size_t>(fd - FIRST_FD) >= files_.size()) return nullptr;
    Description &description = files_[static_cast<size_t>(fd - FIRST_FD)];
    return description.kind == Description::free ? nullptr : &description;
}

// Completes the read that waits for it.
void Kernel::event_written(int fd) {
    for (Operation &operation : operations_)
        if (operation.disk < 0 && operation.sqe.fd == fd)
            operation.due_ns = std::min(operation.due_ns, now_ns + 500 + prng.below(10'000));
}

int64_t Kernel::transfer(int disk, bool write, uint64_t offset, uint64_t length, std::byte *data,
                         bool durable) {
    auto index = static_cast<size_t>(disk);
    Disk &target = world.disks[index];
    const DiskFaults &f = faults.disks[index];
    uint64_t end = write ? target.room() : target.length();
    if (offset >= end) return write ? -ENOSPC : 0;
    length = std::min(length, end - offset);
    uint64_t odds = write ? f.write : f.read;
    bool fails = odds && prng.one_in(odds), shortened = !fails && f.shorten && prng.one_in(f.shorten);
    if (shortened && prng.one_in(2)) return prng.one_in(2) ? -EINTR : -EAGAIN;
    uint64_t done = length;
    if ((fails || shortened) && length > SECTOR) done = prng.below(length / SECTOR) * SECTOR;
    if (fails && length == SECTOR) done = 0;
    if (shortened && done == 0) done = length;
    if (write) {
        target.write(offset, done, data, requests_++);
        if (durable && !fails && !world.direct && f.flush && prng.one_in(f.flush)) return lose(disk, done);
        bool lies = mutant == Mutant::fua_not_passed && disk == 1;
        if (durable && !lies) target.make_durable(offset, done);
    } else {
        target.read(offset, done, data);
    }
    injected += fails;
    STEP("  %s %s%s %" PRIu64 "+%" PRIu64 "%s", target.name.c_str(), write ? "write" : "read",
         durable ? " durably" : "", offset / SECTOR, length / SECTOR,
         fails       ? ": fails"
         : shortened ? ": in part"
                     : "");
    return fails ? (write && prng.one_in(4) ? -ENOSPC : -EIO) : static_cast<int64_t>(done);
}

// Of a durable write the writeback has failed. A flush that is under way may be told in its place (errseq_t).
int64_t Kernel::lose(int disk, uint64_t done) {
    auto index = static_cast<size_t>(disk);
    bool flushing = std::any_of(operations_.begin(), operations_.end(), [&](const Operation &o) {
        return o.disk == disk && o.sqe.opcode == IORING_OP_FSYNC;
    });
    injected++;
    world.disks[index].lose_unflushed();
    told[index] = !flushing;
    STEP("  %s durable write: not stored%s", world.disks[index].name.c_str(),
         flushing ? ", and a flush will hear of it" : ", fails");
    return flushing ? static_cast<int64_t>(done) : -EIO;
}

int Kernel::flush(int disk, uint64_t limit) {
    auto index = static_cast<size_t>(disk);
    Disk &target = world.disks[index];
    const DiskFaults &f = faults.disks[index];
    bool fails = (f.flush && prng.one_in(f.flush)) || (target.owes_error && !told[index]);
    STEP("  %s flush%s", target.name.c_str(), fails ? ": fails" : "");
    if (fails) {
        injected++;
        if (!world.direct) {
            target.lose_unflushed();
            told[index] = true;
        }
        return -EIO;
    }
    bool lies = mutant == Mutant::flush_not_passed && disk == 1;
    if (!lies) target.flush(limit);
    return 0;
}

int Kernel::zero(int disk, int, uint64_t offset, uint64_t length) {
    auto index = static_cast<size_t>(disk);
    Disk &target = world.disks[index];
    const DiskFaults &f = faults.disks[index];
    if (f.cannot_zero) return -EOPNOTSUPP;
    bool fails = f.write && prng.one_in(f.write);
    uint64_t done = fails ? prng.below(length / SECTOR + 1) * SECTOR : length;
    target.zero(offset, done, requests_++);
    injected += fails;
    STEP("  %s zero %" PRIu64 "+%" PRIu64 "%s", target.name.c_str(), offset / SECTOR, length / SECTOR,
         fails ? ": fails" : "");
    return fails ? -EIO : 0;
}

bool Kernel::state_fails() {
    crash_point();
    bool fails = faults.state && prng.one_in(faults.state);
    injected += fails;
    if (fails) STEP("  state folder: a step fails");
    return fails;
}
