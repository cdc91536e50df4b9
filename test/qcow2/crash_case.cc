#include "crash_case.h"

#include <cstdio>

#include "full_table.h"
#include "media.h"
#include "targets/qcow2/snapshots.h"

using namespace us::qcow2;

void Case::fail(const std::string &what) const {
    fprintf(stderr,
            "image-crash: seed %llu: %s (clusters of 2^%u, refcounts of 2^%u bits, version %u%s%s%s%s, %llu "
            "sectors)\n",
            static_cast<unsigned long long>(seed_), what.c_str(), options_.cluster_bits,
            options_.refcount_order, options_.version, options_.extended_l2 ? ", extended" : "",
            backing_ ? ", backing" : "",
            options_.data_file_raw ? ", raw data file"
            : data                 ? ", data file"
                                   : "",
            failing  ? ", failing"
            : narrow ? ", narrow"
                     : "",
            static_cast<unsigned long long>(sectors_));
    exit(1);
}

// There are few clusters of which its refcount table can speak.
void Case::fill_table(Bytes &bytes) {
    MemoryMedia media(bytes);
    Header header;
    if (auto refusal = open_image(media, header)) fail(refusal->text);
    taken_ = fill_refcount_table(bytes, header, machine.prng.below(40));
    taken_end_ = header.refcount_table().bytes / 8 * header.refcounts_per_block();
}

// It has been something else before, of which nothing shows; a raw one is the new disk at once.
void Case::make_data_file(uint64_t sectors) {
    for (uint64_t i = 0; i < sectors; i++) {
        Bytes sector = sectors_of(options_.data_file_raw ? 0 : next_value_++, 1);
        data_state.insert(data_state.end(), sector.begin(), sector.end());
    }
    data = std::make_unique<Disk>(machine, data_state);
}

// alone: it shows nothing of another image.
void Case::set_up(const Bytes *given, bool alone) {
    Prng &prng = machine.prng;
    options_.version = prng.one_in(6) ? 2 : 3;
    options_.cluster_bits = 9 + static_cast<uint32_t>(prng.below(4));
    if (options_.version == 3) options_.refcount_order = static_cast<uint32_t>(prng.below(7));
    if (options_.version == 3 && prng.one_in(4)) {
        options_.extended_l2 = true;
        options_.cluster_bits = 14;
    }
    options_.lazy_refcounts = options_.version == 3 && prng.one_in(4);
    // Small clusters, so that there are several L2 tables and refcount blocks.
    uint64_t clusters = 3 + prng.below(options_.cluster_bits == 9 ? 400 : 40);
    options_.size = clusters << options_.cluster_bits;
    bool full = !alone && prng.one_in(5);
    if (full) {
        options_ = {};
        options_.cluster_bits = 9;
        options_.refcount_order = 6;
        options_.size = (3 + prng.below(300)) * SECTOR;
    }
    if (prng.one_in(3)) options_.size -= SECTOR * prng.below((1u << options_.cluster_bits) / SECTOR);
    options_.preallocate_metadata = prng.one_in(5);
    uint64_t sectors = options_.size / SECTOR;
    if (!data_file.empty()) options_.version = 3;
    if (!given && options_.version == 3 && (prng.one_in(4) || !data_file.empty())) {
        options_.data_file_name = data_name;
        options_.data_file_raw = data_file.empty() ? prng.one_in(2) : data_file == "raw";
        make_data_file(sectors);
    }
    if (!alone && !options_.data_file_raw && prng.one_in(2)) {
        backing_ = std::make_unique<GrowingMemory>();
        // Shorter than the image at times, or longer.
        uint64_t most = sectors + (prng.one_in(2) ? prng.below(sectors) : 0);
        for (uint64_t i = 0; i < most && !(i > sectors / 2 && prng.one_in(sectors)); i++) {
            Bytes sector = sectors_of(next_value_++, 1);
            backing_->bytes.insert(backing_->bytes.end(), sector.begin(), sector.end());
        }
    }
    GrowingMemory fresh;
    if (given) {
        fresh.bytes = *given;
        backing_.reset();
    } else {
        Created created = finished(create(fresh, options_));
        if (created.error || created.refusal) fail("cannot be made");
        if (full) fill_table(fresh.bytes);
    }
    Header header;
    if (auto refusal = open_image(fresh, header)) fail(refusal->text);
    options_.version = header.version;
    options_.cluster_bits = header.shape.cluster_bits;
    options_.size = header.size;
    options_.refcount_order = header.refcount_order;
    options_.extended_l2 = header.shape.extended != 0;
    table_clusters_ = header.refcount_table_clusters;
    sectors_ = options_.size / SECTOR;
    sizes_ = {sectors_};
    guest_.resize(sectors_);
    std::vector<uint64_t> values = contents(fresh, header);
    for (size_t i = 0; i < guest_.size(); i++)
        guest_[i].attempt(values[i]);
    SnapshotsRead read = finished(read_snapshots(fresh, header));
    for (const Snapshot &snapshot : read.table.snapshots) {
        Shot shot{snapshot.name, true, false, {snapshot.size / SECTOR}, {}, {}};
        shot.shows = contents(fresh, of_snapshot(header, snapshot));
        shots_.push_back(std::make_unique<Shot>(std::move(shot)));
    }
    disk = std::make_unique<Disk>(machine, fresh.bytes);
    ImageOptions image_options;
    image_options.cache_bytes = prng.one_in(2) ? 0 : 1 << 20;
    image_options.backing = backing_.get();
    image_options.data = data.get();
    image_ = std::make_unique<Image>(*disk, header, image_options);
}

us::Task<void> Case::begin() {
    int error = co_await image_->load();
    if (error != 0) fail("cannot be loaded");
    error = co_await image_->begin_writing();
    if (error != 0) fail("cannot be written to");
}

bool Case::take(uint64_t first, uint64_t count) {
    auto it = busy_.lower_bound(first);
    if (whole_disk_taken_ || (it != busy_.end() && *it < first + count)) return false;
    for (uint64_t i = 0; i < count; i++)
        busy_.insert(first + i);
    return true;
}
void Case::give(uint64_t first, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        busy_.erase(first + i);
}

us::Task<void> Case::change(uint64_t first, uint64_t count) {
    uint64_t how = machine.prng.below(8), value = how < 5 ? next_value_++ : 0;
    uint64_t from = first, end = first + count;
    if (how == 7) { // of a discard, whole clusters alone are given up
        uint64_t per = (uint64_t{1} << options_.cluster_bits) / SECTOR;
        from = (first + per - 1) / per * per;
        // Of the last one it depends on whether the disk grows in front of it.
        if (end == sectors_ && !resizing_)
            end = sectors_;
        else
            end = end / per * per;
        count = end > first ? end - first : 0;
        if (options_.version < 3 && backing_) end = from;
    }
    // Whether it comes before what a snapshot makes of the disk, or after that, is not known.
    uint64_t epoch = applied_;
    bool meets = applying_ != nullptr;
    for (uint64_t i = from; i < end; i++) {
        guest_[i].attempt(value);
        changing_.insert(i);
        if (applying_) applying_->changing.insert(i);
    }
    int error = 0;
    if (how < 5) {
        Bytes data = sectors_of(value, count);
        error = co_await image_->write(machine, first * SECTOR, data);
    } else if (how < 7) {
        error = co_await image_->zero(machine, first * SECTOR, count * SECTOR, how == 5);
    } else {
        error = co_await image_->discard(machine, first * SECTOR, count * SECTOR);
    }
    if (error != 0 && !may_fail(error)) fail("a request failed: " + std::to_string(error));
    meets = meets || epoch != applied_;
    for (uint64_t i = from; i < end; i++) {
        changing_.erase(i);
        if (error == 0 && !meets) guest_[i].acknowledge();
    }
}

us::Task<void> Case::look(uint64_t first, uint64_t count) {
    Bytes data(count * SECTOR);
    int error = co_await image_->read(machine, first * SECTOR, data);
    if (error != 0) fail("a read failed: " + std::to_string(error));
    for (uint64_t i = 0; i < count; i++) {
        const Expected &expected = guest_[first + i];
        std::optional<uint64_t> value = value_of(data.data() + i * SECTOR);
        if (!value || !expected.may_be(*value, expected.acknowledged))
            fail("sector " + std::to_string(first + i) + " reads what was not written last");
    }
}

us::Task<void> Case::flush() {
    std::vector<uint64_t> before;
    for (const Expected &expected : guest_)
        before.push_back(expected.acknowledged);
    int error = co_await image_->flush(machine);
    if (error != 0 && !failing) fail("a flush failed: " + std::to_string(error));
    for (size_t i = 0; i < before.size() && error == 0; i++)
        guest_[i].flushed(before[i]);
}

us::Task<void> Case::client(uint32_t operations) {
    clients++;
    for (uint32_t i = 0; i < operations; i++) {
        if (machine.prng.one_in(10)) {
            co_await flush();
            continue;
        }
        if (!data && machine.prng.one_in(15)) {
            co_await change_tables();
            continue;
        }
        uint64_t most = std::min<uint64_t>(sectors_, machine.prng.one_in(3) ? 64 : 4);
        uint64_t count = 1 + machine.prng.below(most), first = machine.prng.below(sectors_ - count + 1);
        if (machine.prng.one_in(3)) { // whole clusters
            uint64_t per = (uint64_t{1} << options_.cluster_bits) / SECTOR;
            first = first / per * per;
            count = std::min(per * (1 + machine.prng.below(3)), sectors_ - first);
        }
        if (!take(first, count)) continue;
        if (machine.prng.one_in(4))
            co_await look(first, count);
        else
            co_await change(first, count);
        give(first, count);
    }
    clients--;
}
