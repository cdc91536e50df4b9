// What the mapping core is told of the image, so that requests find their clusters without it.
//
//     an entry is read     its clusters are shown, under the turn of whoever reads or writes them
//     an entry changes     hidden before, shown after
//     a standstill         the map is closed, and empty when it opens again: revision.h
//
// A cluster that is shown as OWN is written in place by anybody at any time. So whoever copies one has to
// still it before.
#include "targets/qcow2/image.h"

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

void Image::hide(uint64_t guest) {
    if (mapped_) options_.map->take_back(guest >> unit_shift(), cluster() >> unit_shift());
}

Task<void> Image::still(Executor &executor, uint64_t guest) {
    if (!mapped_) co_return;
    hide(guest);
    co_await options_.map->grace(executor);
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
