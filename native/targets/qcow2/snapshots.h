// The snapshot table: specification, "Snapshots".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "targets/qcow2/header.h"
#include "targets/qcow2/media.h"

namespace us::qcow2 {

struct Snapshot {
    uint64_t l1_offset = 0;
    uint32_t l1_entries = 0;
    std::string id, name;
    uint32_t seconds = 0, nanoseconds = 0; // since the Epoch
    uint64_t guest_nanoseconds = 0;        // that the guest had run
    uint64_t vm_state_bytes = 0;
    uint64_t size = 0;            // bytes of the guest's disk
    std::vector<std::byte> extra; // as it stands in the table

    Range l1() const { return {l1_offset, uint64_t{l1_entries} * 8}; }
};

// What is to be known of a snapshot before it is taken.
struct SnapshotRequest {
    std::string tag;
    uint32_t seconds = 0, nanoseconds = 0; // since the Epoch
};

struct SnapshotTable {
    std::vector<Snapshot> snapshots;
    Range range; // in the image file
};

// Either the table, or why it cannot be used, or -errno.
struct SnapshotsRead {
    SnapshotTable table;
    std::optional<Refusal> refusal;
    int error = 0;
};
Task<SnapshotsRead> read_snapshots(Media &media, const Header &header);

// bytes: from the table's beginning on. False when it goes on behind them.
bool parse_snapshots(std::span<const std::byte> bytes, const Header &header, SnapshotTable &table,
                     std::optional<Refusal> &refusal);

// As they stand in a table, each with the size of its disk.
std::vector<std::byte> encode_snapshots(const std::vector<Snapshot> &snapshots);

// Of the instructions that the guest had run, where its execution was recorded.
std::optional<uint64_t> icount_of(const Snapshot &snapshot);

// By its id or its tag, of which a snapshot may have what is another one's id: 0 and its index, -ENOENT, or
// -ENOTUNIQ where more than one is meant.
int find_snapshot(const std::vector<Snapshot> &snapshots, std::string_view which, size_t &index);

// One more than the largest number that is an id.
std::string next_snapshot_id(const std::vector<Snapshot> &snapshots);

} // namespace us::qcow2
