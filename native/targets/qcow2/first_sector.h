// The header's fields that change while an image is in use: all of them lie in its first sector, which one
// write changes as a whole.
#pragma once

#include <algorithm>
#include <mutex>
#include <vector>

#include "targets/qcow2/format.h"
#include "targets/qcow2/header.h"
#include "targets/qcow2/media.h"
#include "targets/qcow2/waiters.h"

namespace us::qcow2 {

// Where a field lies, and what it shall be.
struct HeaderField {
    uint64_t offset = 0;
    std::vector<std::byte> bytes;

    static HeaderField incompatible(uint64_t bits) { return word(72, bits); }
    static HeaderField autoclear(uint64_t bits) { return word(88, bits); }
    static HeaderField refcount_table(const Range &range, uint64_t cluster_bytes) {
        HeaderField field = word(48, range.offset);
        field.bytes.resize(12);
        store<uint32_t>(field.bytes.data() + 8, static_cast<uint32_t>(range.bytes / cluster_bytes));
        return field;
    }
    // The disk's size, and where its tables and those of its snapshots are: from `size` to
    // `snapshots_offset`.
    static HeaderField tables(const Header &header) {
        HeaderField field{24, std::vector<std::byte>(48)};
        std::byte *at = field.bytes.data();
        store<uint64_t>(at, header.size);
        store<uint32_t>(at + 8, static_cast<uint32_t>(header.crypt));
        store<uint32_t>(at + 12, header.l1_entries);
        store<uint64_t>(at + 16, header.l1_offset);
        store<uint64_t>(at + 24, header.refcount_table_offset);
        store<uint32_t>(at + 32, header.refcount_table_clusters);
        store<uint32_t>(at + 36, header.nr_snapshots);
        store<uint64_t>(at + 40, header.snapshots_offset);
        return field;
    }

  private:
    static HeaderField word(uint64_t offset, uint64_t value) {
        HeaderField field{offset, std::vector<std::byte>(8)};
        store<uint64_t>(field.bytes.data(), value);
        return field;
    }
};

// Durable afterwards. Nobody else writes the header meanwhile.
inline Task<int> write_field(Media &media, HeaderField field) {
    std::byte sector[US_SECTOR_BYTES];
    int error = co_await media.read(0, sector);
    std::copy(field.bytes.begin(), field.bytes.end(), sector + field.offset);
    if (error == 0) error = co_await media.write(0, sector);
    if (error == 0) error = co_await media.flush();
    co_return error;
}

// The same for any number of writers, one after the other.
class FirstSector {
  public:
    explicit FirstSector(Media &media) : media_(media) {}

    Task<int> write(Executor &executor, HeaderField field) {
        std::unique_lock lock(mutex_);
        while (writing_) {
            co_await written_.wait(executor, lock);
            lock.lock();
        }
        writing_ = true;
        lock.unlock();
        int error = co_await write_field(media_, std::move(field));
        lock.lock();
        writing_ = false;
        written_.wake();
        co_return error;
    }

  private:
    Media &media_;
    std::mutex mutex_;
    bool writing_ = false;
    Waiters written_;
};

} // namespace us::qcow2
