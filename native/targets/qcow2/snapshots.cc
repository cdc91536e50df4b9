#include "targets/qcow2/snapshots.h"

#include <algorithm>
#include <cerrno>
#include <charconv>

namespace us::qcow2 {

namespace {

constexpr size_t FIXED_BYTES = 40, SIZED_EXTRA_BYTES = 16;

std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

Snapshot read_entry(std::span<const std::byte> entry, const Header &header) {
    const std::byte *at = entry.data();
    Snapshot s;
    s.l1_offset = load<uint64_t>(at);
    s.l1_entries = load<uint32_t>(at + 8);
    uint16_t id_bytes = load<uint16_t>(at + 12), name_bytes = load<uint16_t>(at + 14);
    s.seconds = load<uint32_t>(at + 16);
    s.nanoseconds = load<uint32_t>(at + 20);
    s.guest_nanoseconds = load<uint64_t>(at + 24);
    s.vm_state_bytes = load<uint32_t>(at + 32);
    auto extra = entry.subspan(FIXED_BYTES, load<uint32_t>(at + 36));
    s.extra.assign(extra.begin(), extra.end());
    s.size = header.size;
    if (extra.size() >= 8) s.vm_state_bytes = load<uint64_t>(extra.data());
    if (extra.size() >= 16) s.size = load<uint64_t>(extra.data() + 8);
    auto names = entry.subspan(FIXED_BYTES + extra.size());
    s.id = text_of(names.first(id_bytes));
    s.name = text_of(names.subspan(id_bytes, name_bytes));
    return s;
}

std::optional<Refusal> check_entry(const Snapshot &s, const Header &header) {
    std::string which = "its snapshot \"" + s.name + "\"";
    if (s.l1_offset % header.cluster_bytes() != 0)
        return Refusal{Refusal::invalid, which + " has an L1 table that does not begin at a cluster"};
    if (s.l1().bytes > MAX_L1_BYTES || s.l1_offset > INT64_MAX)
        return Refusal{Refusal::invalid, which + " has an L1 table that cannot be"};
    return {};
}

// What else is in the extra data is kept.
std::vector<std::byte> extra_of(const Snapshot &s) {
    std::vector<std::byte> extra = s.extra;
    extra.resize(std::max(extra.size(), SIZED_EXTRA_BYTES));
    store<uint64_t>(extra.data(), s.vm_state_bytes);
    store<uint64_t>(extra.data() + 8, s.size);
    return extra;
}

void append_entry(std::vector<std::byte> &table, const Snapshot &s) {
    std::vector<std::byte> extra = extra_of(s);
    size_t place = table.size();
    table.resize(place + FIXED_BYTES);
    std::byte *at = table.data() + place;
    store<uint64_t>(at, s.l1_offset);
    store<uint32_t>(at + 8, s.l1_entries);
    store<uint16_t>(at + 12, static_cast<uint16_t>(s.id.size()));
    store<uint16_t>(at + 14, static_cast<uint16_t>(s.name.size()));
    store<uint32_t>(at + 16, s.seconds);
    store<uint32_t>(at + 20, s.nanoseconds);
    store<uint64_t>(at + 24, s.guest_nanoseconds);
    store<uint32_t>(at + 32, static_cast<uint32_t>(std::min<uint64_t>(s.vm_state_bytes, UINT32_MAX)));
    store<uint32_t>(at + 36, static_cast<uint32_t>(extra.size()));
    table.insert(table.end(), extra.begin(), extra.end());
    for (const std::string &text : {s.id, s.name}) {
        auto bytes = std::as_bytes(std::span(text));
        table.insert(table.end(), bytes.begin(), bytes.end());
    }
    table.resize(round_up(table.size(), 8));
}

} // namespace

bool parse_snapshots(std::span<const std::byte> bytes, const Header &header, SnapshotTable &table,
                     std::optional<Refusal> &refusal) {
    table = {};
    size_t at = 0, end = 0;
    for (uint32_t i = 0; i < header.nr_snapshots; i++) {
        std::span<const std::byte> rest = bytes.subspan(std::min(at, bytes.size()));
        if (rest.size() < FIXED_BYTES) return false;
        uint32_t extra = load<uint32_t>(rest.data() + 36);
        if (extra > MAX_SNAPSHOT_EXTRA_BYTES) {
            refusal = Refusal{Refusal::unsupported, "a snapshot of it has more extra data than is known"};
            return true;
        }
        size_t entry =
            FIXED_BYTES + extra + load<uint16_t>(rest.data() + 12) + load<uint16_t>(rest.data() + 14);
        if (rest.size() < entry) return false;
        table.snapshots.push_back(read_entry(rest.first(entry), header));
        if ((refusal = check_entry(table.snapshots.back(), header))) return true;
        end = at + entry;
        at += round_up(entry, 8);
    }
    // QEMU does not pad the last one, with which its file may end.
    table.range = {header.snapshots_offset, end};
    return true;
}

Task<SnapshotsRead> read_snapshots(Media &media, const Header &header) {
    SnapshotsRead read;
    if (header.nr_snapshots == 0) co_return read;
    uint64_t most =
        std::min(MAX_SNAPSHOT_TABLE_BYTES, media.size() - std::min(media.size(), header.snapshots_offset));
    std::vector<std::byte> bytes;
    // Entries are of any length: so the table's is known once all have been read.
    for (uint64_t want = 4096;; want *= 4) {
        bytes.resize(std::min(want, most));
        read.error = co_await media.read(header.snapshots_offset, bytes);
        if (read.error != 0 || parse_snapshots(bytes, header, read.table, read.refusal)) co_return read;
        if (want < most) continue;
        read.refusal = Refusal{Refusal::invalid, "its snapshot table does not end within the image"};
        co_return read;
    }
}

std::vector<std::byte> encode_snapshots(const std::vector<Snapshot> &snapshots) {
    std::vector<std::byte> table;
    for (const Snapshot &snapshot : snapshots)
        append_entry(table, snapshot);
    return table;
}

// The third word of the extra data.
std::optional<uint64_t> icount_of(const Snapshot &snapshot) {
    if (snapshot.extra.size() < 24) return {};
    auto count = load<uint64_t>(snapshot.extra.data() + 16);
    if (count == UINT64_MAX) return {};
    return count;
}

int find_snapshot(const std::vector<Snapshot> &snapshots, std::string_view which, size_t &index) {
    size_t found = 0;
    for (size_t i = 0; i < snapshots.size(); i++) {
        if (snapshots[i].id != which && snapshots[i].name != which) continue;
        index = i;
        found++;
    }
    return found == 0 ? -ENOENT : found == 1 ? 0 : -ENOTUNIQ;
}

std::string next_snapshot_id(const std::vector<Snapshot> &snapshots) {
    uint64_t largest = 0;
    for (const Snapshot &s : snapshots) {
        uint64_t number = 0;
        std::from_chars(s.id.data(), s.id.data() + s.id.size(), number);
        largest = std::max(largest, number);
    }
    // Behind the largest of all there is but the first that is unused.
    auto used = [&](const std::string &id) {
        return std::any_of(snapshots.begin(), snapshots.end(), [&](const Snapshot &s) { return s.id == id; });
    };
    std::string id = std::to_string(++largest);
    while (used(id))
        id = std::to_string(++largest);
    return id;
}

} // namespace us::qcow2
