// What the mapping core is told of the image, so that requests find their clusters without it.
//
//     an entry is read     its clusters are shown, under the turn of whoever reads or writes them
//     an entry changes     hidden before, shown after
//     a standstill         the map is closed, and empty when it opens again: revision.h
//
// A cluster that is shown as OWN is written in place by anybody at any time. So whoever copies one has to
// still it before.
#include "targets/qcow2/image.h"

#include <algorithm>
#include <cerrno>

namespace us::qcow2 {

void Image::serve_mapped(uint32_t block) {
    if (!options_.map || corrupt() || uint64_t{1} << unit_shift() < block) return;
    mapped_ = true;
    options_.map->open(unit_shift());
    note_clean();
}

us_format_kind Image::kind_of(const us_qcow2_run &run, bool may_write, uint64_t media_bytes) const {
    if (run.kind == US_QCOW2_UNALLOCATED) return options_.backing ? US_FORMAT_SHINES : US_FORMAT_UNKNOWN;
    // What lies behind the end of the media reads zeros, of which they know nothing.
    uint64_t end = run.host + (uint64_t{1} << unit_shift());
    if (run.kind != US_QCOW2_DATA || end > media_bytes) return US_FORMAT_UNKNOWN;
    return run.exclusive && may_write ? US_FORMAT_OWN : US_FORMAT_SHARED;
}

void Image::show(const Entry &entry, uint64_t guest, uint64_t within, uint64_t bytes) {
    if (!mapped_) return;
    const uint32_t shift = unit_shift();
    bool may_write = writing_ && check_place(entry, guest, within) == 0;
    uint64_t media_bytes = data().size();
    for (uint64_t unit = within >> shift; unit << shift < within + bytes; unit++) {
        us_qcow2_run run = run_of(entry, guest, unit << shift);
        us_format_kind kind = kind_of(run, may_write, media_bytes);
        uint64_t place = kind == US_FORMAT_SHINES ? 0 : run.host >> shift;
        if (kind != US_FORMAT_UNKNOWN)
            options_.map->put(entry.generation, (guest >> shift) + unit, place, kind);
    }
}

// Entries of an image that is only read never change: what lies beside one that is asked for is shown with
// it, and not a request later each. Under the cache's mutex. place: of the entry of `guest`, in the slice.
void Image::show_beside(const TableCache::Pin &slice, uint64_t place, uint64_t guest, uint64_t generation) {
    constexpr uint64_t UNITS = 64;
    const uint64_t entry_bytes = us_qcow2_entry_bytes(&header_.shape);
    const uint64_t clusters = std::max<uint64_t>(UNITS * (uint64_t{1} << unit_shift()) / cluster(), 1);
    const uint64_t within = place % cache_.slice_bytes() / entry_bytes;
    const uint64_t first = within / clusters * clusters,
                   end = std::min(first + clusters, cache_.slice_bytes() / entry_bytes);
    for (uint64_t i = first; i < end; i++) {
        uint64_t beside = guest + i * cluster() - within * cluster();
        if (i == within || beside >= header_.size) continue;
        const std::byte *at = slice.data() + i * entry_bytes;
        Entry entry{qcow2::load<uint64_t>(at), header_.shape.extended ? qcow2::load<uint64_t>(at + 8) : 0,
                    generation};
        show(entry, beside, 0, cluster());
    }
}

void Image::hide(uint64_t guest) {
    if (mapped_) options_.map->take_back(guest >> unit_shift(), cluster() >> unit_shift());
}

Task<int> Image::still(Executor &executor, uint64_t guest) {
    if (!mapped_) co_return 0;
    hide(guest);
    bool passed = co_await options_.map->grace(executor);
    co_return passed ? 0 : -ECANCELED;
}

void Image::note_clean() {
    if (!mapped_ || watched_.doubt() != 0) return;
    std::unique_lock lock(mutex_);
    bool nothing_given_up = given_up_.empty();
    lock.unlock();
    std::lock_guard cache_lock(cache_.mutex());
    if (nothing_given_up && cache_.nr_dirty(TableKind::l2) == 0) options_.map->set_clean(true);
}

} // namespace us::qcow2
