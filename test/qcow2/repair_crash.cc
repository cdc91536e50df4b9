// Refcounts damaged at random, and power cuts at every moment of their repair: what is left is no worse, can
// be repaired, and is whole then. The guest's disk is the same throughout.
//
//     repair-crash FILE --states N --seed S
#include <cstdio>
#include <cstring>
#include <string>

#include "contents.h"
#include "sim.h"
#include "targets/qcow2/check.h"
#include "targets/qcow2/refcounts.h"
#include "targets/qcow2/repair.h"

using namespace us::qcow2;

namespace {

struct Case {
    explicit Case(uint64_t seed, const Bytes &given) : prng(seed), seed(seed), image(given) {
        contents = contents_of(image);
    }

    Prng prng;
    uint64_t seed;
    Bytes image, contents;
    uint64_t states = 0;

    [[noreturn]] void fail(const std::string &what) const {
        fprintf(stderr, "repair-crash: seed %llu: %s\n", static_cast<unsigned long long>(seed), what.c_str());
        exit(1);
    }
    Header header_of(const Bytes &bytes) const {
        MemoryMedia media(bytes);
        Header header;
        if (auto refusal = open_image(media, header)) fail("is not opened: " + refusal->text);
        return header;
    }
    Bytes contents_of(const Bytes &bytes) const {
        MemoryMedia media(bytes);
        Bytes all;
        auto take = [&all](const Bytes &run) { all.insert(all.end(), run.begin(), run.end()); };
        if (!read_disk(media, header_of(bytes), take)) fail("cannot be read");
        return all;
    }
    CheckReport checked(const Bytes &bytes) const {
        MemoryMedia media(bytes);
        return finished(check(media, header_of(bytes)));
    }

    void damage();
    void damage_block(const Header &header, uint64_t offset);
    void repair_under_cuts(const Bytes &before, uint64_t depth);
    void check_cut(const Bytes &before, const Bytes &state) const;
};

// Some of its refcounts, or all of them.
void Case::damage_block(const Header &header, uint64_t offset) {
    bool all = prng.one_in(4), leaks = prng.one_in(3);
    uint64_t most = std::min<uint64_t>(refcount_max(header.refcount_order), 3);
    for (uint64_t i = 0; i < header.refcounts_per_block(); i++) {
        if (!all && !prng.one_in(8)) continue;
        uint64_t is = refcount_at(image.data() + offset, header.refcount_order, i);
        uint64_t to = leaks ? is + prng.below(most - std::min(is, most) + 1) : prng.below(most + 1);
        set_refcount(image.data() + offset, header.refcount_order, i, all && !leaks ? 0 : to);
    }
}

// Blocks lose refcounts, or their place in the table, and the table its end.
void Case::damage() {
    Header header = header_of(image);
    bool keeps_blocks = prng.one_in(2);
    for (uint64_t i = 0; i < header.refcount_table().bytes / 8; i++) {
        std::byte *place = image.data() + header.refcount_table_offset + i * 8;
        auto offset = load<uint64_t>(place);
        if (offset == 0) continue;
        if (!keeps_blocks && prng.one_in(3))
            store<uint64_t>(place, 0);
        else if (prng.one_in(2))
            damage_block(header, offset);
    }
    if (!keeps_blocks && header.refcount_table_clusters > 1 && prng.one_in(2))
        store<uint32_t>(image.data() + 56, header.refcount_table_clusters - 1);
    if (header.version >= 3 && prng.one_in(2))
        store<uint64_t>(image.data() + 72, header.incompatible | INCOMPATIBLE_DIRTY);
}

bool whole(const CheckReport &report) {
    return report.error == 0 && report.corruptions == 0 && report.leaks == 0;
}
// What a writer would do harm by.
bool harmful(const CheckReport &report) {
    for (const Finding &finding : report.findings)
        if (finding.corruption && finding.text.find("as if it were shared") == std::string::npos) return true;
    return false;
}

void Case::check_cut(const Bytes &before, const Bytes &state) const {
    Header header = header_of(state);
    CheckReport report = checked(state), was = checked(before);
    if (report.error != 0 || report.contradiction)
        fail("after a cut: " + report.contradiction.value_or("unreadable"));
    bool untouched = !header_of(before).has(INCOMPATIBLE_DIRTY) && report.corruptions == was.corruptions &&
                     report.leaks == was.leaks;
    if (header.version >= 3 && !header.has(INCOMPATIBLE_DIRTY) && !untouched && !whole(report))
        fail("after a cut the image is not whole, nor dirty: " + report.findings[0].text);
    if (!header.has(INCOMPATIBLE_DIRTY) && harmful(report) && !harmful(was))
        fail("after a cut the image is less safe than it was: " + report.findings[0].text);
    if (contents_of(state) != contents) fail("after a cut the disk reads something else");
}

// Cut off in the middle of it, each state is repaired, once more under cuts.
void Case::repair_under_cuts(const Bytes &before, uint64_t depth) {
    Machine machine(prng.next());
    Disk disk(machine, before);
    Header header = header_of(before);
    std::optional<Repaired> repaired;
    uint64_t per = header.refcounts_per_block() * header.cluster_bytes(), rarity = 3 + before.size() / per;
    us::detach([](Disk &disk, Header &header, std::optional<Repaired> &repaired) -> us::Task<void> {
        repaired.emplace(co_await repair(disk, header));
    }(disk, header, repaired));
    do {
        if (depth == 0 || !prng.one_in(rarity)) continue;
        Bytes state = disk.after_cut(prng);
        check_cut(before, state);
        states++;
        repair_under_cuts(state, prng.one_in(4) ? depth - 1 : 0);
    } while (machine.step());
    if (!repaired) fail("the repair does not end");
    if (repaired->refusal) fail("refused: " + *repaired->refusal);
    if (repaired->error != 0) fail("failed: " + std::to_string(repaired->error));
    CheckReport report = checked(disk.now());
    if (!whole(report)) fail("after the repair: " + report.findings[0].text);
    Header now = header_of(disk.now());
    if (now.has(INCOMPATIBLE_DIRTY)) fail("still dirty");
    if (now.incompatible != header.incompatible ||
        now.refcount_table_offset != header.refcount_table_offset ||
        now.refcount_table_clusters != header.refcount_table_clusters)
        fail("the header is not what the repair says that it is");
    if (contents_of(disk.now()) != contents) fail("after the repair the disk reads something else");
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 6) return fprintf(stderr, "usage: repair-crash FILE --states N --seed S\n"), 2;
    FileMedia file(opened(argv[1]));
    Bytes image(file.size());
    if (finished(file.read(0, image)) != 0 || image.empty()) return perror(argv[1]), 2;
    uint64_t states = strtoull(argv[3], nullptr, 10), seed = strtoull(argv[5], nullptr, 10), seen = 0,
             cases = 0;
    for (; seen < states; cases++) {
        Case c(mix(seed, cases), image);
        c.damage();
        c.repair_under_cuts(c.image, 3);
        seen += c.states;
    }
    printf("%llu crash states of %llu repairs: nothing found\n", static_cast<unsigned long long>(seen),
           static_cast<unsigned long long>(cases));
    return 0;
}
