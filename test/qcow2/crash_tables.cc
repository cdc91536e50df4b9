// Snapshots and growing, under the requests of the other clients.
#include <cerrno>

#include "crash_case.h"
#include "media.h"
#include "targets/qcow2/compact.h"
#include "targets/qcow2/refcounts.h"
#include "targets/qcow2/snapshots.h"

using namespace us::qcow2;

namespace {

constexpr size_t MAX_SHOTS = 4;

} // namespace

us::Task<void> Case::change_tables() {
    Prng &prng = machine.prng;
    std::vector<Shot *> there;
    for (const auto &shot : shots_)
        if (shot->there) there.push_back(shot.get());
    uint64_t how = prng.below(10);
    Shot *any = there.empty() ? nullptr : there[prng.below(there.size())];
    if (how < 3 && there.size() < MAX_SHOTS)
        co_await take_snapshot();
    else if (how < 5 && any)
        co_await delete_snapshot(*any);
    else if (how < 7 && any && !applying_ && !resizing_)
        co_await apply_snapshot(*any);
    else if (how == 7 && !applying_ && !resizing_)
        co_await grow();
    else if (how > 7)
        co_await compact();
}

// Nothing of the disk or its snapshots changes. How much was done, in bytes.
us::Task<uint64_t> Case::compact() {
    Compaction compaction;
    int error = co_await us::qcow2::compact(*image_, machine, compaction);
    if (error != 0 && !may_fail(error)) fail("is not compacted: " + std::to_string(error));
    done.compacted += error == 0;
    done.zeroed += compaction.zeroed;
    done.moved += compaction.moved;
    done.moved_tables += compaction.moved_tables;
    co_return compaction.zeroed + compaction.moved + compaction.moved_tables;
}

us::Task<void> Case::compact_twice() {
    co_await compact();
    uint64_t done = co_await compact();
    if (done != 0) fail("was not as small as it can be: " + std::to_string(done) + " bytes more");
}

// Beyond what the format can say; or what the disk has failed to do.
bool Case::may_fail(int error) const {
    return failing || (narrow && error == -ENOSPC) || (error == -EFBIG && options_.refcount_order <= 2);
}

// The disk may be as large from now on, and what is in the making has seen it so.
void Case::may_have(uint64_t sectors) {
    sizes_.insert(sectors);
    for (const auto &shot : shots_)
        if (!shot->there && !shot->going) shot->sizes.insert(sectors);
}

// As it is on disk, which is held against what it may be.
void Case::show_now(Shot &shot) {
    MemoryMedia media(disk->now());
    Header header;
    if (auto refusal = open_image(media, header)) fail(refusal->text);
    SnapshotsRead read = finished(read_snapshots(media, header));
    for (const Snapshot &snapshot : read.table.snapshots) {
        if (snapshot.name != shot.tag) continue;
        std::vector<uint64_t> values = contents(media, of_snapshot(header, snapshot));
        check_shot(shot, values);
        shot.shows = values;
        shot.sizes = {values.size()};
        shot.there = true;
        return;
    }
    fail("a snapshot that was taken is not there");
}

us::Task<void> Case::take_snapshot() {
    auto made = std::make_unique<Shot>();
    Shot &shot = *made;
    shot.tag = "tag " + std::to_string(next_tag_++);
    shot.sizes = sizes_;
    for (const Expected &expected : guest_)
        shot.since.push_back(expected.acknowledged);
    shots_.push_back(std::move(made));
    SnapshotRequest request{shot.tag, 1700000000, 5};
    int error = co_await image_->snapshot_create(machine, request);
    if (error == 0) {
        show_now(shot);
        done.taken++;
        co_return;
    }
    if (!may_fail(error)) fail("a snapshot is not taken: " + std::to_string(error));
    if (!failing) std::erase_if(shots_, [&](const auto &other) { return other.get() == &shot; });
}

us::Task<void> Case::delete_snapshot(Shot &shot) {
    shot.there = false;
    shot.going = true;
    int error = co_await image_->snapshot_delete(machine, shot.tag);
    if (error != 0 && !may_fail(error)) fail("a snapshot is not deleted: " + std::to_string(error));
    if (error != 0) {
        shot.there = !failing;
        shot.going = failing;
        co_return;
    }
    std::erase_if(shots_, [&](const auto &other) { return other.get() == &shot; });
    done.deleted++;
}

// What the disk becomes is known sector by sector: but not of those that others change meanwhile. Where it
// becomes smaller, or larger, nobody else uses it.
us::Task<void> Case::apply_snapshot(Shot &shot) {
    uint64_t becomes = shot.shows.size();
    if (becomes != sectors_ && (!busy_.empty() || whole_disk_taken_)) co_return;
    whole_disk_taken_ = becomes != sectors_;
    shot.there = false; // so that nobody deletes it
    shot.going = true;
    may_have(becomes);
    guest_.resize(std::max<uint64_t>(guest_.size(), becomes));
    auto applying = std::make_unique<Applying>();
    applying->changing = changing_;
    for (uint64_t i = 0; i < becomes; i++) {
        applying->acknowledged.push_back(guest_[i].values.empty() ? 0 : guest_[i].acknowledged);
        if (i < sectors_)
            guest_[i].attempt(shot.shows[i]);
        else
            guest_[i].becomes(shot.shows[i]);
        applying->number.push_back(guest_[i].latest());
    }
    applying_ = std::move(applying);
    applied_++;
    int error = co_await image_->snapshot_apply(machine, shot.tag);
    applying = std::move(applying_);
    whole_disk_taken_ = false;
    shot.there = true;
    shot.going = false;
    if (error != 0) {
        if (!may_fail(error)) fail("a snapshot is not applied: " + std::to_string(error));
        if (!failing) sizes_ = {sectors_};
        co_return;
    }
    done.applied++;
    sectors_ = becomes;
    sizes_ = {becomes};
    for (uint64_t i = 0; i < becomes; i++) {
        if (applying->changing.contains(i)) continue;
        guest_[i].acknowledged = applying->number[i];
        guest_[i].flushed(applying->number[i]);
    }
}

us::Task<void> Case::grow() {
    uint64_t per = (uint64_t{1} << options_.cluster_bits) / SECTOR;
    uint64_t by = 1 + machine.prng.below(machine.prng.one_in(2) ? per : 20 * per), size = sectors_ + by;
    if (size > 2 * options_.size / SECTOR + 64) co_return;
    resizing_ = true;
    may_have(size);
    guest_.resize(std::max<uint64_t>(guest_.size(), size));
    for (uint64_t i = sectors_; i < size; i++)
        guest_[i].becomes(0);
    int error = co_await image_->resize(machine, size * SECTOR);
    resizing_ = false;
    bool unsized = error == -ENOTSUP && options_.version == 2;
    if (error != 0 && !may_fail(error) && !unsized) fail("does not grow: " + std::to_string(error));
    if (error == 0) {
        sectors_ = size;
        done.grown++;
    }
    if (error == 0 || !failing) sizes_ = {sectors_};
}
