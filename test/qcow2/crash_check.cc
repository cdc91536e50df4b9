// What is found on a disk, held against what may be there.
#include <fstream>

#include "crash_case.h"
#include "media.h"
#include "targets/qcow2/check.h"
#include "targets/qcow2/inflate.h"
#include "targets/qcow2/map.h"
#include "targets/qcow2/snapshots.h"

using namespace us::qcow2;

void Case::check_state(const Bytes &bytes, bool whole) {
    MemoryMedia media(bytes);
    Header header;
    if (auto refusal = open_image(media, header))
        fail("after a cut the image is not opened: " + refusal->text);
    // Whatever its lazy refcounts would allow.
    if (header.has(INCOMPATIBLE_DIRTY)) fail("after a cut the image is dirty");
    CheckReport report = finished(check(media, header));
    for (const Finding &finding : report.findings)
        if (finding.corruption) fail("after a cut: " + finding.text);
    uint64_t clusters = header.clusters(bytes.size());
    uint64_t leaks = std::min(taken_end_, clusters) - std::min(taken_, clusters);
    if (whole && report.leaks != leaks && !failing)
        fail("leaks without a cut: " + std::to_string(report.leaks) + ", not " + std::to_string(leaks));
    if (whole && header.refcount_table_clusters > table_clusters_) done.larger_tables++;
    std::vector<uint64_t> values = contents(media, header);
    if (!sizes_.contains(values.size()))
        fail("after a cut the disk has " + std::to_string(values.size()) + " sectors");
    check_disk(values, whole);
    if (options_.data_file_raw) check_raw(values, whole);
    if (applying_) check_applied(values);
    check_snapshots(media, header, whole);
}

void Case::check_disk(const std::vector<uint64_t> &values, bool whole) {
    for (size_t i = 0; i < values.size(); i++)
        if (!guest_[i].may_be(values[i], whole ? guest_[i].acknowledged : guest_[i].dropped))
            fail("after a cut sector " + std::to_string(i) + " reads what it never was, or was long ago");
}

// By itself, as others read it.
void Case::check_raw(const std::vector<uint64_t> &values, bool whole) {
    for (size_t i = 0; i < values.size(); i++) {
        std::optional<uint64_t> value = value_of(data_state.data() + i * SECTOR);
        if (!value || !guest_[i].may_be(*value, guest_[i].dropped) || (whole && *value != values[i]))
            fail("sector " + std::to_string(i) + " of the raw data file reads something else");
    }
}

// All of the snapshot, or nothing of it.
void Case::check_applied(const std::vector<uint64_t> &values) {
    uint64_t common = std::min<uint64_t>(values.size(), sectors_);
    bool before = values.size() == sectors_, after = values.size() == applying_->number.size();
    for (size_t i = 0; i < std::min<uint64_t>(common, applying_->number.size()); i++) {
        before = before && guest_[i].may_be_without(values[i], applying_->number[i]);
        after = after && guest_[i].may_be(values[i], applying_->acknowledged[i] + 1);
    }
    if (!before && !after) fail("after a cut a snapshot is applied by halves");
}

void Case::check_shot(const Shot &shot, const std::vector<uint64_t> &values) {
    if (!shot.sizes.contains(values.size())) fail("\"" + shot.tag + "\" has another size");
    if (shot.there || shot.going) {
        if (values != shot.shows) fail("\"" + shot.tag + "\" shows something else");
        return;
    }
    for (size_t i = 0; i < values.size(); i++)
        if (!guest_[i].may_be(values[i], i < shot.since.size() ? shot.since[i] : 0))
            fail("\"" + shot.tag + "\" shows what sector " + std::to_string(i) + " was not then");
}

void Case::check_snapshots(Media &media, const Header &header, bool whole) {
    SnapshotsRead read = finished(read_snapshots(media, header));
    if (read.refusal) fail("after a cut: " + read.refusal->text);
    std::set<std::string> found;
    for (const Snapshot &snapshot : read.table.snapshots) {
        auto shot = std::find_if(shots_.begin(), shots_.end(),
                                 [&](const auto &shot) { return shot->tag == snapshot.name; });
        if (shot == shots_.end()) fail("\"" + snapshot.name + "\" is there again");
        check_shot(**shot, contents(media, of_snapshot(header, snapshot)));
        if (!found.insert(snapshot.name).second) fail("\"" + snapshot.name + "\" is there twice");
    }
    bool applying = applying_ != nullptr;
    for (const auto &shot : shots_)
        if ((shot->there || (shot->going && whole && !failing && !applying)) && !found.contains(shot->tag))
            fail("after a cut \"" + shot->tag + "\" is not there");
}

us::qcow2::Header Case::of_snapshot(const Header &header, const Snapshot &snapshot) const {
    Header then = header;
    then.l1_offset = snapshot.l1_offset;
    then.l1_entries = snapshot.l1_entries;
    then.size = snapshot.size;
    return then;
}

// Every sector of the disk as the tables have it, by nothing of what is tested.
std::vector<uint64_t> Case::contents(Media &media, const Header &header) {
    std::vector<MapRun> runs;
    MemoryMedia in_data(data_state);
    Media &data_media = in_data;
    finished(map(media, header, 0, header.size, runs));
    std::vector<uint64_t> values;
    Bytes bytes, data(2 * header.cluster_bytes()), cluster(header.cluster_bytes());
    for (const MapRun &run : runs) {
        bytes.assign(run.length, std::byte{0});
        if (run.kind == US_QCOW2_BAD) fail("an entry contradicts the format");
        if (run.kind == US_QCOW2_DATA)
            finished((header.shape.data_file ? data_media : media).read(run.host, bytes));
        if (run.kind == US_QCOW2_UNALLOCATED && backing_) finished(backing_->read(run.start, bytes));
        if (run.kind == US_QCOW2_INFLATE) {
            finished(media.read(run.host, data));
            if (!inflate(header.compression, data, cluster)) fail("compressed data are damaged");
            std::copy_n(cluster.begin(), bytes.size(), bytes.begin());
        }
        for (uint64_t at = 0; at < run.length; at += SECTOR) {
            std::optional<uint64_t> value = value_of(bytes.data() + at);
            if (!value) fail("sector " + std::to_string((run.start + at) / SECTOR) + " is torn");
            values.push_back(*value);
        }
    }
    return values;
}

namespace {

void leave_values(const std::string &path, const std::vector<uint64_t> &values) {
    std::ofstream file(path, std::ios::binary);
    for (uint64_t value : values) {
        Bytes sector = sectors_of(value, 1);
        file.write(reinterpret_cast<const char *>(sector.data()), SECTOR);
    }
}

} // namespace

// PREFIX.raw, and PREFIX.TAG.raw of each snapshot.
void Case::leave_for_others(const std::string &prefix) {
    MemoryMedia media(disk->now());
    Header header;
    if (auto refusal = open_image(media, header)) fail(refusal->text);
    leave_values(prefix + ".raw", contents(media, header));
    for (const auto &shot : shots_)
        leave_values(prefix + "." + shot->tag + ".raw", shot->shows);
}
