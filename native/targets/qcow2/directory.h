// The L1 table or the refcount table: all of it in memory, and every change on its way to the disk before it
// is seen. A write that fails may have reached the disk, or not: until it is settled nobody knows.
#pragma once

#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "targets/qcow2/format.h"
#include "targets/qcow2/header.h"
#include "targets/qcow2/media.h"
#include "targets/qcow2/waiters.h"

namespace us::qcow2 {

class Directory {
  public:
    Directory(Media &media, Range range) : media_(media), range_(range) {}

    Task<int> load() {
        std::vector<std::byte> bytes(range_.bytes);
        if (int error = co_await media_.read(range_.offset, bytes)) co_return error;
        words_.resize(range_.bytes / 8);
        for (size_t i = 0; i < words_.size(); i++)
            words_[i] = qcow2::load<uint64_t>(bytes.data() + i * 8);
        co_return 0;
    }

    uint64_t size() {
        std::lock_guard lock(mutex_);
        return words_.size();
    }
    std::vector<uint64_t> words() {
        std::lock_guard lock(mutex_);
        return words_;
    }
    Range range() {
        std::lock_guard lock(mutex_);
        return range_;
    }
    // Behind its end there is nothing.
    uint64_t get(uint64_t index) {
        std::lock_guard lock(mutex_);
        return index < words_.size() ? words_[index] : 0;
    }

    // What is in memory, once more. Not while another one takes its place.
    Task<int> rewrite(Executor &executor) {
        for (uint64_t first = 0; first < size(); first += PER_SECTOR)
            if (int error = co_await write_sector(executor, first, std::nullopt)) co_return error;
        co_return 0;
    }

    // On its way to the disk when it ends; -errno: it may be, or not.
    Task<int> set(Executor &executor, uint64_t index, uint64_t word) {
        Change change{index, word};
        int error = co_await write_sector(executor, index / PER_SECTOR * PER_SECTOR, change);
        co_return error;
    }

    // What is on disk is what is in memory afterwards, once it is flushed. Nobody changes anything meanwhile.
    Task<int> settle(Executor &executor) {
        while (!unsettled_.empty()) {
            uint64_t first = *unsettled_.begin();
            if (int error = co_await write_sector(executor, first, std::nullopt)) co_return error;
        }
        co_return 0;
    }

    // Another table, which is on disk, takes its place. Nobody changes anything meanwhile.
    void replace(const Range &range, std::vector<uint64_t> words) {
        std::lock_guard lock(mutex_);
        range_ = range;
        words_ = std::move(words);
    }

  private:
    static constexpr uint64_t PER_SECTOR = US_SECTOR_BYTES / 8;
    struct Change {
        uint64_t index, word;
    };

    // The one that begins with this entry, and one at a time: so that none on disk is older than one that
    // came before. Behind the table's end there is nothing in its cluster.
    Task<int> write_sector(Executor &executor, uint64_t first, std::optional<Change> change) {
        std::unique_lock lock(mutex_);
        while (writing_) {
            co_await written_.wait(executor, lock);
            lock.lock();
        }
        writing_ = true;
        uint64_t end = std::min<uint64_t>(first + PER_SECTOR, words_.size());
        std::vector<std::byte> sector(US_SECTOR_BYTES);
        for (uint64_t i = first; i < end; i++)
            store<uint64_t>(sector.data() + (i - first) * 8,
                            change && change->index == i ? change->word : words_[i]);
        lock.unlock();
        int error = co_await media_.write(range_.offset + first * 8, sector);
        lock.lock();
        if (error == 0) {
            if (change) words_[change->index] = change->word;
            unsettled_.erase(first);
        } else {
            unsettled_.insert(first);
        }
        writing_ = false;
        written_.wake();
        co_return error;
    }

    Media &media_;
    Range range_;
    std::mutex mutex_;
    std::vector<uint64_t> words_;
    std::set<uint64_t> unsettled_; // the first entries of sectors whose write has failed
    bool writing_ = false;
    Waiters written_;
};

} // namespace us::qcow2
