// An image under clients at random on a disk of any order, and power cuts at every moment: what is left has
// to be an image without a contradiction, whose every block reads as something that it was, and nothing older
// than what was flushed.
//
//     image-crash --states N --seed S [--image FILE]
//     image-crash --seed S --leave PREFIX
//
// Images are made at random, or all of them are FILE, of whose disk every sector has to be one number: of
// compressed clusters and snapshots, say. What its snapshots show never changes.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>
#include <string>

#include "media.h"
#include "sim.h"
#include "targets/qcow2/check.h"
#include "targets/qcow2/create.h"
#include "targets/qcow2/image.h"
#include "targets/qcow2/inflate.h"
#include "targets/qcow2/map.h"
#include "targets/qcow2/snapshots.h"

using namespace us::qcow2;

namespace {

// For what is made before anything can go wrong.
class GrowingMemory : public Media {
  public:
    Bytes bytes;
    us::Task<int> read(uint64_t offset, std::span<std::byte> into) override {
        for (size_t i = 0; i < into.size(); i++)
            into[i] = offset + i < bytes.size() ? bytes[offset + i] : std::byte{0};
        co_return 0;
    }
    us::Task<int> write(uint64_t offset, std::span<const std::byte> from) override {
        if (bytes.size() < offset + from.size()) bytes.resize(offset + from.size());
        std::copy(from.begin(), from.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
        co_return 0;
    }
    us::Task<int> flush() override { co_return 0; }
    uint64_t size() const override { return bytes.size(); }
};

// A sector of the guest is one number, sixty-four times.
Bytes sectors_of(uint64_t value, uint64_t count) {
    Bytes bytes(count * SECTOR);
    for (size_t i = 0; i < bytes.size(); i += 8)
        memcpy(bytes.data() + i, &value, 8);
    return bytes;
}
// What it reads as; nothing when it is torn.
std::optional<uint64_t> value_of(const std::byte *sector) {
    uint64_t first = 0, word = 0;
    memcpy(&first, sector, 8);
    for (size_t i = 8; i < SECTOR; i += 8) {
        memcpy(&word, sector + i, 8);
        if (word != first) return {};
    }
    return first;
}

// What each sector of the guest may read as: what was flushed last, and what was attempted since, in order.
struct Expected {
    std::vector<uint64_t> values;
    uint64_t dropped = 0;      // how many came before the first of them
    uint64_t acknowledged = 0; // the number of the latest that has ended

    void attempt(uint64_t value) { values.push_back(value); }
    void acknowledge() { acknowledged = dropped + values.size() - 1; }
    void flushed(uint64_t number) {
        if (number <= dropped) return;
        values.erase(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(number - dropped));
        dropped = number;
    }
    bool may_be(uint64_t value, uint64_t from) const {
        for (uint64_t k = from - dropped; k < values.size(); k++)
            if (values[k] == value) return true;
        return false;
    }
};

struct Case {
    Case(uint64_t seed) : machine(seed), seed(seed) {}

    Machine machine;
    uint64_t seed;
    CreateOptions options;
    std::unique_ptr<GrowingMemory> backing;
    std::unique_ptr<Disk> disk;
    std::unique_ptr<Image> image;
    const Bytes *given = nullptr; // an image to begin with
    std::vector<Expected> guest;
    std::vector<std::pair<Header, std::vector<uint64_t>>> snapshots; // and what they show
    std::set<uint64_t> busy;       // sectors of the guest that a client changes now
    uint64_t next_value = 1 << 20; // those of given images are below
    uint32_t clients = 0;
    bool failing = false;
    bool alone = false; // it shows nothing of another image

    [[noreturn]] void fail(const std::string &what) const {
        fprintf(
            stderr,
            "image-crash: seed %llu: %s (clusters of 2^%u, refcounts of 2^%u bits, version %u%s%s%s, %llu "
            "sectors)\n",
            static_cast<unsigned long long>(seed), what.c_str(), options.cluster_bits, options.refcount_order,
            options.version, options.extended_l2 ? ", extended" : "", backing ? ", backing" : "",
            failing ? ", failing" : "", static_cast<unsigned long long>(guest.size()));
        exit(1);
    }

    void set_up();
    us::Task<void> client(uint32_t operations);
    us::Task<void> change(uint64_t first, uint64_t count);
    us::Task<void> look(uint64_t first, uint64_t count);
    us::Task<void> flush();
    void check_state(const Bytes &bytes, bool whole);
    std::vector<uint64_t> contents(Media &media, const Header &header);
    void leave_for_others(const std::string &prefix) const;
    bool take(uint64_t first, uint64_t count);
    void give(uint64_t first, uint64_t count);
};

void Case::set_up() {
    Prng &prng = machine.prng;
    options.version = prng.one_in(6) ? 2 : 3;
    options.cluster_bits = 9 + static_cast<uint32_t>(prng.below(4));
    if (options.version == 3) options.refcount_order = static_cast<uint32_t>(prng.below(7));
    if (options.version == 3 && prng.one_in(4)) {
        options.extended_l2 = true;
        options.cluster_bits = 14;
    }
    // Small clusters, so that there are several L2 tables and refcount blocks.
    uint64_t clusters = 3 + prng.below(options.cluster_bits == 9 ? 400 : 40);
    options.size = clusters << options.cluster_bits;
    if (prng.one_in(3)) options.size -= SECTOR * prng.below((1u << options.cluster_bits) / SECTOR);
    options.preallocate_metadata = prng.one_in(5);
    uint64_t sectors = options.size / SECTOR;
    if (!alone && prng.one_in(2)) {
        backing = std::make_unique<GrowingMemory>();
        // Shorter than the image at times.
        for (uint64_t i = 0; i < sectors && !(i > sectors / 2 && prng.one_in(sectors)); i++) {
            Bytes sector = sectors_of(next_value++, 1);
            backing->bytes.insert(backing->bytes.end(), sector.begin(), sector.end());
        }
    }
    GrowingMemory fresh;
    if (given) {
        fresh.bytes = *given;
        backing.reset();
    } else {
        Created created = finished(create(fresh, options));
        if (created.error || created.refusal) fail("cannot be made");
    }
    Header header;
    if (auto refusal = open_image(fresh, header)) fail(refusal->text);
    options.version = header.version;
    options.cluster_bits = header.shape.cluster_bits;
    options.size = header.size;
    options.refcount_order = header.refcount_order;
    options.extended_l2 = header.shape.extended != 0;
    guest.resize(options.size / SECTOR);
    std::vector<uint64_t> values = contents(fresh, header);
    for (size_t i = 0; i < guest.size(); i++)
        guest[i].attempt(values[i]);
    SnapshotsRead read = finished(read_snapshots(fresh, header));
    for (const Snapshot &snapshot : read.table.snapshots) {
        Header then = header;
        then.l1_offset = snapshot.l1_offset;
        then.l1_entries = snapshot.l1_entries;
        snapshots.emplace_back(then, contents(fresh, then));
    }
    disk = std::make_unique<Disk>(machine, fresh.bytes);
    ImageOptions image_options;
    image_options.cache_bytes = prng.one_in(2) ? 0 : 1 << 20;
    image_options.backing = backing.get();
    image = std::make_unique<Image>(*disk, header, image_options);
}

bool Case::take(uint64_t first, uint64_t count) {
    auto it = busy.lower_bound(first);
    if (it != busy.end() && *it < first + count) return false;
    for (uint64_t i = 0; i < count; i++)
        busy.insert(first + i);
    return true;
}
void Case::give(uint64_t first, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        busy.erase(first + i);
}

us::Task<void> Case::change(uint64_t first, uint64_t count) {
    uint64_t how = machine.prng.below(8), value = how < 5 ? next_value++ : 0;
    uint64_t from = first, end = first + count;
    if (how == 7) { // of a discard, whole clusters alone are given up
        uint64_t per = (uint64_t{1} << options.cluster_bits) / SECTOR;
        from = (first + per - 1) / per * per;
        if (end != guest.size()) end = end / per * per;
        if (options.version < 3) end = from;
    }
    for (uint64_t i = from; i < end; i++)
        guest[i].attempt(value);
    int error = 0;
    if (how < 5) {
        Bytes data = sectors_of(value, count);
        error = co_await image->write(machine, first * SECTOR, data);
    } else if (how < 7) {
        error = co_await image->zero(machine, first * SECTOR, count * SECTOR, how == 5);
    } else {
        error = co_await image->discard(machine, first * SECTOR, count * SECTOR);
    }
    if (error != 0 && !failing) fail("a request failed: " + std::to_string(error));
    for (uint64_t i = from; i < end && error == 0; i++)
        guest[i].acknowledge();
}

us::Task<void> Case::look(uint64_t first, uint64_t count) {
    Bytes data(count * SECTOR);
    int error = co_await image->read(machine, first * SECTOR, data);
    if (error != 0) fail("a read failed: " + std::to_string(error));
    for (uint64_t i = 0; i < count; i++) {
        const Expected &expected = guest[first + i];
        std::optional<uint64_t> value = value_of(data.data() + i * SECTOR);
        if (!value || !expected.may_be(*value, expected.acknowledged))
            fail("sector " + std::to_string(first + i) + " reads what was not written last");
    }
}

us::Task<void> Case::flush() {
    std::vector<uint64_t> before;
    for (const Expected &expected : guest)
        before.push_back(expected.acknowledged);
    int error = co_await image->flush(machine);
    if (error != 0 && !failing) fail("a flush failed: " + std::to_string(error));
    for (size_t i = 0; i < guest.size() && error == 0; i++)
        guest[i].flushed(before[i]);
}

us::Task<void> Case::client(uint32_t operations) {
    clients++;
    for (uint32_t i = 0; i < operations; i++) {
        if (machine.prng.one_in(10)) {
            co_await flush();
            continue;
        }
        uint64_t most = std::min<uint64_t>(guest.size(), machine.prng.one_in(3) ? 64 : 4);
        uint64_t count = 1 + machine.prng.below(most), first = machine.prng.below(guest.size() - count + 1);
        if (machine.prng.one_in(3)) { // whole clusters
            uint64_t per = (uint64_t{1} << options.cluster_bits) / SECTOR;
            first = first / per * per;
            count = std::min(per * (1 + machine.prng.below(3)), guest.size() - first);
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

void Case::check_state(const Bytes &bytes, bool whole) {
    MemoryMedia media(bytes);
    Header header;
    if (auto refusal = open_image(media, header))
        fail("after a cut the image is not opened: " + refusal->text);
    CheckReport report = finished(check(media, header));
    for (const Finding &finding : report.findings)
        if (finding.corruption) fail("after a cut: " + finding.text);
    if (whole && report.leaks && !failing) fail("a leak without a cut: " + report.findings[0].text);
    std::vector<uint64_t> values = contents(media, header);
    for (size_t i = 0; i < values.size(); i++)
        if (!guest[i].may_be(values[i], whole ? guest[i].acknowledged : guest[i].dropped))
            fail("after a cut sector " + std::to_string(i) + " reads what it never was, or was long ago");
    for (const auto &[then, shown] : snapshots)
        if (contents(media, then) != shown) fail("after a cut a snapshot shows something else");
}

// Every sector of the disk as the tables have it, by nothing of what is tested.
std::vector<uint64_t> Case::contents(Media &media, const Header &header) {
    std::vector<MapRun> runs;
    finished(map(media, header, 0, header.size, runs));
    std::vector<uint64_t> values;
    Bytes bytes, data(2 * header.cluster_bytes()), cluster(header.cluster_bytes());
    for (const MapRun &run : runs) {
        bytes.assign(run.length, std::byte{0});
        if (run.kind == US_QCOW2_BAD) fail("an entry contradicts the format");
        if (run.kind == US_QCOW2_DATA) finished(media.read(run.host, bytes));
        if (run.kind == US_QCOW2_UNALLOCATED && backing) finished(backing->read(run.start, bytes));
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

void leave(const std::string &path, const Bytes &bytes) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void Case::leave_for_others(const std::string &prefix) const {
    leave(prefix + ".qcow2", disk->now());
    Bytes raw;
    for (const Expected &expected : guest) {
        Bytes sector = sectors_of(expected.values.back(), 1);
        raw.insert(raw.end(), sector.begin(), sector.end());
    }
    leave(prefix + ".raw", raw);
}

// Some operations of some clients, and a cut at many a step. How many states that were.
uint64_t run_case(uint64_t seed, uint64_t cuts, const Bytes *given, const std::string &prefix) {
    Case c(seed);
    c.given = given;
    c.alone = !prefix.empty();
    c.set_up();
    us::detach([](Case &c) -> us::Task<void> {
        if (co_await c.image->load() != 0) c.fail("cannot be loaded");
        if (co_await c.image->begin_writing() != 0) c.fail("cannot be written to");
    }(c));
    while (c.machine.step()) {
    }
    c.failing = !c.alone && c.machine.prng.one_in(8);
    if (c.failing) c.disk->fail_one_in = 20;
    uint32_t clients = 1 + static_cast<uint32_t>(c.machine.prng.below(6));
    for (uint32_t i = 0; i < clients; i++)
        us::detach(c.client(20));
    Prng chance(seed ^ 0xc07);
    uint64_t states = 0;
    while (c.machine.step()) {
        if (states >= cuts || !chance.one_in(3)) continue;
        Bytes state = c.disk->after_cut(chance);
        if (c.alone) leave(prefix + ".cut.qcow2", state);
        c.check_state(state, false);
        states++;
    }
    if (c.clients != 0) c.fail("clients wait for ever");
    if (c.failing) return states;
    // What was given up is free after one round, and on disk after another.
    for (int i = 0; i < 2; i++) {
        us::detach(c.flush());
        while (c.machine.step()) {
        }
    }
    c.check_state(c.disk->now(), true);
    if (c.alone) c.leave_for_others(prefix);
    return states + 1;
}

} // namespace

int main(int argc, char **argv) {
    uint64_t states = 20000, seed = 1;
    Bytes image;
    std::string prefix;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--states")) states = strtoull(argv[i + 1], nullptr, 10);
        if (!strcmp(argv[i], "--seed")) seed = strtoull(argv[i + 1], nullptr, 10);
        if (!strcmp(argv[i], "--leave")) prefix = argv[i + 1];
        if (!strcmp(argv[i], "--image")) {
            FileMedia file(opened(argv[i + 1]));
            image.resize(file.size());
            if (finished(file.read(0, image)) != 0 || image.empty()) return perror(argv[i + 1]), 2;
        }
    }
    const Bytes *given = image.empty() ? nullptr : &image;
    uint64_t seen = 0, cases = 0;
    if (!prefix.empty()) return run_case(seed, 200, given, prefix), 0;
    while (seen < states)
        seen += run_case(mix(seed, cases++), 200, given, prefix);
    printf("%llu crash states of %llu cases: nothing found\n", static_cast<unsigned long long>(seen),
           static_cast<unsigned long long>(cases));
    return 0;
}
