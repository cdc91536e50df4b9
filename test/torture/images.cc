#include "images.h"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <fstream>

#include "targets/finished.h"
#include "targets/qcow2/check.h"
#include "targets/qcow2/map.h"
#include "targets/qcow2/slice_store.h"
#include "targets/qcow2/snapshots.h"
#include "trace.h"

using namespace us::qcow2;
using us::finished;

namespace {

constexpr uint64_t LARGEST_CLUSTER = 16384; // of the stacks

} // namespace

Leaving &leaving() {
    static Leaving one;
    return one;
}

ImageView::ImageView(std::string name, SectorList sectors, uint64_t length, Inode *kept)
    : name_(std::move(name)), sectors_(std::move(sectors)), length_(length) {
    if (length_ < SECTOR || sectors_[0] == 0) return;
    if (kept) take_over(*kept);
    std::vector<std::byte> head(std::min(length_, LARGEST_CLUSTER));
    finished(read(0, head));
    if (auto refusal = parse_header(head, length_, header_))
        fail("image \"%s\" has no header: %s", name_.c_str(), refusal->text.c_str());
    there_ = true;
}

// The layout is SliceStore's: a page with a magic word, the number of slices and their length; what is known
// of each; and the slices.
void ImageView::take_over(Inode &kept) {
    constexpr uint64_t PAGE = 4096;
    uint64_t nr;
    uint32_t slice_bytes;
    if (kept.size() < PAGE) return;
    memcpy(&nr, kept.data() + 8, sizeof nr);
    memcpy(&slice_bytes, kept.data() + 16, sizeof slice_bytes);
    uint64_t table_bytes = (nr * sizeof(SliceStore::Kept) + PAGE - 1) / PAGE * PAGE;
    if (kept.size() != PAGE + table_bytes + nr * slice_bytes) return; // a server died while it made the file
    for (uint64_t i = 0; i < nr; i++) {
        SliceStore::Kept slice;
        memcpy(&slice, kept.data() + PAGE + i * sizeof slice, sizeof slice);
        if (!slice.used || slice.changes == slice.written) continue;
        nr_kept_++;
        const std::byte *data = kept.data() + PAGE + table_bytes + i * slice_bytes;
        for (uint64_t at = 0; at < slice_bytes; at += SECTOR)
            sectors_[(slice.offset + at) / SECTOR] = Sectors::instance().number(data + at);
    }
}

void ImageView::check(bool leaks) {
    if (header_.has(INCOMPATIBLE_DIRTY)) return; // says itself that its refcounts are to be counted anew
    if (header_.has(INCOMPATIBLE_CORRUPT)) fail("image \"%s\" is marked as corrupt", name_.c_str());
    CheckReport report = finished(us::qcow2::check(*this, header_));
    for (const Finding &finding : report.findings)
        if (finding.corruption || !leaks)
            fail("image \"%s\"%s: %s", name_.c_str(), nr_kept_ ? ", with what a server has left" : "",
                 finding.text.c_str());
}

void ImageView::check_snapshots(Snapshots &snapshots) {
    SnapshotsRead read = finished(read_snapshots(*this, header_));
    if (read.refusal) fail("image \"%s\": %s", name_.c_str(), read.refusal->text.c_str());
    for (const Snapshot &snapshot : read.table.snapshots) {
        Header then = header_;
        then.l1_offset = snapshot.l1_offset;
        then.l1_entries = snapshot.l1_entries;
        then.size = snapshot.size;
        SectorList shows = disk(then, nullptr, {});
        std::string key = name_ + "/" + snapshot.name;
        auto [entry, fresh] = snapshots.seen.try_emplace(key, shows);
        if (!fresh && !snapshots.of_doubt.contains(key) && entry->second != shows)
            fail("image \"%s\": snapshot \"%s\" shows something else", name_.c_str(), snapshot.name.c_str());
    }
}

SectorList ImageView::disk(const Header &header, const SectorList *data, const SectorList &backing) {
    SectorList shows(header.size / SECTOR);
    std::vector<MapRun> runs;
    finished(map(*this, header, 0, header.size, runs));
    for (const MapRun &run : runs)
        for (uint64_t at = 0; at < run.length; at += SECTOR) {
            uint64_t guest = (run.start + at) / SECTOR, host = (run.host + at) / SECTOR;
            const SectorList &from = data ? *data : sectors_;
            if (run.kind == US_QCOW2_DATA && host < from.size())
                shows[guest] = from[host];
            else if (run.kind == US_QCOW2_UNALLOCATED)
                shows[guest] = guest < backing.size() ? backing[guest] : 0;
            else if (run.kind != US_QCOW2_ZEROS)
                fail("image \"%s\": sector %" PRIu64 " is nowhere", name_.c_str(), guest);
        }
    return shows;
}

void ImageView::leave() const {
    Leaving &to = leaving();
    if (to.done >= to.most || !header_.backing_name.empty() || !header_.data_file_name.empty()) return;
    std::ofstream file(to.folder + "/" + std::to_string(to.done++) + ".qcow2", std::ios::binary);
    for (uint64_t at = 0; at < length_ / SECTOR; at++)
        file.write(reinterpret_cast<const char *>(Sectors::instance().bytes(sectors_[at])), SECTOR);
}

us::Task<int> ImageView::read(uint64_t offset, std::span<std::byte> into) {
    for (uint64_t done = 0; done < into.size();) {
        uint64_t sector = (offset + done) / SECTOR, at = (offset + done) % SECTOR;
        uint64_t n = std::min<uint64_t>(SECTOR - at, into.size() - done);
        memcpy(into.data() + done,
               Sectors::instance().bytes(sector < sectors_.size() ? sectors_[sector] : 0) + at, n);
        done += n;
    }
    co_return 0;
}

us::Task<int> ImageView::write(uint64_t, std::span<const std::byte>) {
    co_return -EROFS;
}

us::Task<int> ImageView::flush() {
    co_return 0;
}
