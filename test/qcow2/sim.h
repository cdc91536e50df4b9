// A disk whose writes end in any order and are lost in any part by a power cut, and a machine of one thread
// on which coroutines meet in any order. All of it follows from a seed.
#pragma once

#include <cstdlib>
#include <map>
#include <vector>

#include "../torture/prng.h"
#include "targets/executor.h"
#include "targets/qcow2/media.h"

constexpr uint64_t SECTOR = 512;
using Bytes = std::vector<std::byte>;

// Whatever is ready to go on: one of it at a time, by chance.
class Machine : public us::Executor {
  public:
    explicit Machine(uint64_t seed) : prng(seed) {}

    // Some of it is late: much happens before.
    void later(std::coroutine_handle<> handle) { (prng.one_in(12) ? late_ : ready_).push_back(handle); }
    // False when nothing is left to do.
    bool step() {
        auto &from = ready_.empty() || (!late_.empty() && prng.one_in(40)) ? late_ : ready_;
        if (from.empty()) return false;
        size_t pick = prng.below(from.size());
        std::coroutine_handle<> handle = from[pick];
        from[pick] = from.back();
        from.pop_back();
        handle.resume();
        return true;
    }

    void resume_later(std::coroutine_handle<> handle) override { later(handle); }
    us::Task<us::IoResult> execute(uint32_t, us::LeafIo, const us::Run &) override { abort(); }
    us::Task<int> offload(std::function<int()>) override { abort(); }
    void spawn(us::Task<void>) override { abort(); }
    us::Task<bool> pause(uint64_t) override { abort(); }
    us::Task<bool> pause_until(uint64_t, const void *) override { abort(); }
    void ring(const void *) override { abort(); }
    bool stopping() const override { return false; }

    Prng prng;

  private:
    std::vector<std::coroutine_handle<>> ready_, late_;
};

class Disk : public us::qcow2::Media {
  public:
    Disk(Machine &machine, Bytes content) : machine_(machine), durable_(std::move(content)) {
        durable_.resize((durable_.size() + SECTOR - 1) / SECTOR * SECTOR);
        now_ = durable_;
    }

    us::Task<int> read(uint64_t offset, std::span<std::byte> into) override {
        co_await Turn{machine_};
        for (size_t i = 0; i < into.size(); i++)
            into[i] = offset + i < now_.size() ? now_[offset + i] : std::byte{0};
        co_return 0;
    }

    // As a write of zeros, which may be lost as well.
    us::Task<void> discard(uint64_t offset, uint64_t length) override {
        Bytes zeros(length);
        co_await write(offset, zeros);
    }

    us::Task<int> write(uint64_t offset, std::span<const std::byte> from) override {
        if (offset % SECTOR || from.size() % SECTOR) abort();
        if (offset + from.size() > limit) {
            co_await Turn{machine_};
            co_return -ENOSPC;
        }
        uint64_t id = ++ops_;
        in_flight_[id] = {offset, Bytes(from.begin(), from.end())};
        co_await Turn{machine_};
        uint64_t fails = offset == 0 ? fail_header_one_in : fail_one_in;
        if (fails && machine_.prng.one_in(fails)) { // in part, perhaps
            Bytes part(from.begin(),
                       from.begin() + static_cast<std::ptrdiff_t>(
                                          machine_.prng.below(from.size() / SECTOR + 1) * SECTOR));
            apply(offset, part);
            in_flight_.erase(id);
            co_return -ENOSPC;
        }
        apply(offset, in_flight_[id].data);
        in_flight_.erase(id);
        co_return 0;
    }

    us::Task<int> flush() override {
        uint64_t covered = versions_; // what had ended before it was asked for
        co_await Turn{machine_};
        for (auto it = pending_.begin(); it != pending_.end();) {
            auto &[sector, list] = *it;
            size_t done = 0;
            while (done < list.size() && list[done].number <= covered)
                done++;
            if (done != 0) put(durable_, sector, list[done - 1].data);
            list.erase(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(done));
            it = list.empty() ? pending_.erase(it) : std::next(it);
        }
        flushes++;
        co_return 0;
    }

    uint64_t size() const override { return now_.size(); }

    // What a power cut now would leave, one of many.
    Bytes after_cut(Prng &prng) const {
        Bytes bytes = durable_;
        // How much is kept, of everything at once: nothing or all of it are states that chance alone would
        // never find.
        uint64_t keep = prng.below(5);
        auto kept = [&] { return keep == 4 || (keep != 0 && prng.below(4) < keep); };
        for (const auto &[sector, list] : pending_)
            if (kept()) put(bytes, sector, list[keep == 4 ? list.size() - 1 : prng.below(list.size())].data);
        for (const auto &[id, op] : in_flight_)
            for (uint64_t at = 0; at < op.data.size(); at += SECTOR)
                if (prng.one_in(2) && kept())
                    put(bytes, (op.offset + at) / SECTOR,
                        Bytes(op.data.begin() + static_cast<std::ptrdiff_t>(at),
                              op.data.begin() + static_cast<std::ptrdiff_t>(at + SECTOR)));
        return bytes;
    }
    const Bytes &now() const { return now_; }

    uint64_t fail_one_in = 0, fail_header_one_in = 0; // the header: what is written to offset 0
    uint64_t limit = UINT64_MAX;                      // it has no room behind
    uint64_t flushes = 0;

  private:
    struct Turn {
        Machine &machine;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> handle) const { machine.later(handle); }
        void await_resume() const noexcept {}
    };
    struct Op {
        uint64_t offset;
        Bytes data;
    };
    struct Version {
        uint64_t number;
        Bytes data;
    };

    static void put(Bytes &bytes, uint64_t sector, const Bytes &data) {
        if (bytes.size() < (sector + 1) * SECTOR) bytes.resize((sector + 1) * SECTOR);
        std::copy(data.begin(), data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(sector * SECTOR));
    }
    void apply(uint64_t offset, const Bytes &data) {
        versions_++;
        for (uint64_t at = 0; at < data.size(); at += SECTOR) {
            Bytes sector(data.begin() + static_cast<std::ptrdiff_t>(at),
                         data.begin() + static_cast<std::ptrdiff_t>(at + SECTOR));
            put(now_, (offset + at) / SECTOR, sector);
            pending_[(offset + at) / SECTOR].push_back({versions_, std::move(sector)});
        }
    }

    Machine &machine_;
    Bytes durable_, now_;
    uint64_t ops_ = 0, versions_ = 0;
    std::map<uint64_t, Op> in_flight_;
    std::map<uint64_t, std::vector<Version>>
        pending_; // by sector: not yet known to be durable, in their order
};
