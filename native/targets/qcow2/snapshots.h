// The snapshot table: specification, "Snapshots".
#pragma once

#include <string>
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

} // namespace us::qcow2
