// L2 tables and refcount blocks in memory, slice by slice, and which of them differ from the disk.
//
//                    get()                   changed()
//     nothing ──▶ loading ──▶ clean ────────────────────────▶ dirty
//                               ▲                               │ copy_dirty(), write()
//                               └── no change since the copy ───┘
//
// A slice that is pinned or dirty stays. Slices are written from copies, so that what is written is of one
// moment, and one at a time each, so that an older copy never overtakes a newer one. Their memory is a
// SliceStore's: what is dirty outlives the server, if that does.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "targets/qcow2/buffer.h"
#include "targets/qcow2/format.h"
#include "targets/qcow2/media.h"
#include "targets/qcow2/slice_store.h"
#include "targets/qcow2/waiters.h"

namespace us::qcow2 {

enum class TableKind : uint8_t { l2, refcounts };

class TableCache {
  public:
    struct Slice {
        SliceStore::Place memory;
        TableKind kind = TableKind::l2;
        bool loading = false, writing = false;
        int error = 0;
        std::atomic<uint32_t> pins{0};
        std::list<Slice *>::iterator place;
        std::unordered_set<Slice *> *dirty_ones = nullptr; // of its kind

        uint64_t offset() const { return memory.kept->offset; } // in the image
        uint64_t changes() const { return memory.kept->changes; }
        uint64_t written() const { return memory.kept->written; }
        bool dirty() const { return changes() != written(); }
        void change() {
            if (!dirty()) dirty_ones->insert(this);
            std::atomic_ref<uint64_t>(memory.kept->changes).store(changes() + 1, std::memory_order_release);
        }
    };

    // Keeps a slice where it is. Its data are read and changed under the mutex alone.
    class Pin {
      public:
        Pin() = default;
        explicit Pin(Slice &slice) : slice_(&slice) { slice.pins++; }
        Pin(Pin &&other) noexcept : slice_(std::exchange(other.slice_, nullptr)) {}
        Pin &operator=(Pin &&other) noexcept {
            std::swap(slice_, other.slice_);
            return *this;
        }
        ~Pin() {
            if (slice_) slice_->pins--;
        }
        explicit operator bool() const { return slice_ != nullptr; }
        std::byte *data() const { return slice_->memory.data; }
        void changed() const { slice_->change(); }
        Slice &slice() const { return *slice_; }

      private:
        Slice *slice_ = nullptr;
    };

    // A dirty slice as it was at one moment.
    struct Copy {
        Pin pin;
        Slice *slice;
        uint64_t changes;
        Buffer data; // empty: there was no memory
    };

    // max_bytes: of clean and dirty slices; more only while all of them are pinned or dirty, which the owner
    // has to see to when it is crowded().
    TableCache(Media &media, uint64_t cluster_bytes, uint64_t max_bytes);

    // Before all else: keeps the slices in a file of this folder, and takes over those that a predecessor of
    // the same owner had not written. 0 or -errno.
    int keep_in(int folder, const std::string &name, const std::string &owner, bool &taken_over);

    // A word beside them, 0 to begin with.
    uint32_t &doubt() { return store_.doubt(); }

    std::mutex &mutex() { return mutex_; }
    uint32_t slice_bytes() const { return slice_bytes_; }

    // The slice that the byte at `offset` lies in. 0, or -errno when it cannot be read.
    Task<int> get(Executor &executor, uint64_t offset, TableKind kind, Pin &pin);

    // The cluster is going to hold another table than it once did. Nothing of the old one is pinned.
    void forget_table(uint64_t offset);

    // A table of one cluster that has just been written there: nobody has asked for it yet, and somebody
    // will.
    void learn(uint64_t offset, std::span<const std::byte> table, TableKind kind);

    // Under the mutex.
    std::vector<Copy> copy_dirty(TableKind kind);

    // Makes the slice at `offset` dirty. False: there is none, or nobody has changed it yet.
    bool change_held(uint64_t offset);

    // So much is dirty that it had better be written.
    bool crowded() {
        std::lock_guard lock(mutex_);
        return dirty_[0].size() + dirty_[1].size() > max_slices_ / 2;
    }

    // Under the mutex.
    uint64_t nr_dirty(TableKind kind) const { return dirty_[static_cast<size_t>(kind)].size(); }

    // Writes the copies, side by side. What has changed since remains dirty. 0 or the first -errno.
    Task<int> write(Executor &executor, std::vector<Copy> copies);
    // The same of one slice, as it is now.
    Task<int> write(Executor &executor, const Pin &pin);

  private:
    int insert(uint64_t offset, TableKind kind, Slice *&slice);
    Slice &add(const SliceStore::Place &memory, TableKind kind);
    void shrink();
    void drop(Slice &slice);
    void drop_failed();
    Copy copy_of(Slice &slice) const;
    Task<int> write_one(Executor &executor, Copy copy);

    Media &media_;
    uint64_t cluster_bytes_;
    uint32_t slice_bytes_;
    size_t max_slices_;
    SliceStore store_;
    std::mutex mutex_;
    std::unordered_map<uint64_t, std::unique_ptr<Slice>> slices_; // by offset
    std::list<Slice *> by_use_;                                   // the latest first
    std::vector<std::unique_ptr<Slice>> failed_;                  // until nobody holds them
    std::unordered_set<Slice *> dirty_[2];                        // by kind
    Waiters loaded_, written_;
};

} // namespace us::qcow2
