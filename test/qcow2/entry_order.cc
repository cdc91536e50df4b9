// An extended entry changes by two stores, between which its server may be killed. Whatever it was, and
// whatever it becomes: each part of the cluster reads then as it did before, or as it does afterwards.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "targets/qcow2/subclusters.h"

using namespace us::qcow2;

namespace {

constexpr us_qcow2_shape SHAPE{16, 1, 0, 3};
constexpr uint64_t OLD_HOST = 0x50000, NEW_HOST = 0x90000, SHIFT = 16 - 5;
constexpr uint32_t SOME[] = {0, 1, 0xffffffff, 0x80000000, 0x00ff00ff, 0xf0f0f0f0};

struct Entry {
    uint64_t word, bits;
};

// What is written, and where everything is when the entry changes.
struct Change {
    Entry before, after;
    uint32_t written;

    // Part `at` as this entry shows it.
    std::string reads(const Entry &entry, uint32_t at) const {
        us_qcow2_run run = us_qcow2_entry(&SHAPE, entry.word, entry.bits, 0, uint64_t{at} << SHIFT);
        if (run.kind == US_QCOW2_ZEROS) return "zeros";
        if (run.kind == US_QCOW2_UNALLOCATED) return "backing";
        if (run.kind == US_QCOW2_INFLATE) return "inflated";
        if (run.kind == US_QCOW2_BAD) return "nothing";
        bool is_new = written >> at & 1, in_place = (before.word & US_QCOW2_HOST_MASK) == OLD_HOST &&
                                                    (after.word & US_QCOW2_HOST_MASK) == OLD_HOST;
        if (run.host < NEW_HOST) return is_new && in_place ? "new" : "old";
        if (!(after.bits >> at & 1)) return "garbage";
        if (is_new) return "new";
        return before.word & US_QCOW2_COMPRESSED ? "inflated" : "old";
    }
};

uint64_t checked = 0;

void check(const Change &change) {
    bool second = second_word_first(change.before.word, change.after.word);
    Entry between =
        second ? Entry{change.before.word, change.after.bits} : Entry{change.after.word, change.before.bits};
    for (uint32_t at = 0; at < US_QCOW2_SUBCLUSTERS; at++) {
        std::string before = change.reads(change.before, at), after = change.reads(change.after, at),
                    reads = change.reads(between, at);
        checked++;
        if (reads == before || reads == after) continue;
        fprintf(stderr,
                "entry-order: %016llx %016llx becomes %016llx %016llx: part %u is %s, then %s, then %s\n",
                static_cast<unsigned long long>(change.before.word),
                static_cast<unsigned long long>(change.before.bits),
                static_cast<unsigned long long>(change.after.word),
                static_cast<unsigned long long>(change.after.bits), at, before.c_str(), reads.c_str(),
                after.c_str());
        exit(1);
    }
}

void change_all(const Entry &before, uint32_t allocated, uint32_t zeros) {
    for (uint32_t parts : SOME) {
        uint64_t rest = uint64_t{zeros & ~parts} << 32;
        Entry moved{NEW_HOST | US_QCOW2_COPIED, (rest & ~(uint64_t{allocated} << 32)) | allocated | parts};
        if (moved.bits & 0xffffffff) check({before, moved, parts});
        if (before.word & US_QCOW2_COPIED) check({before, {before.word, rest | allocated | parts}, parts});
        uint32_t left = allocated & ~parts;
        Entry cleared{left != 0 ? before.word : 0, uint64_t{zeros | parts} << 32 | left};
        if (!(before.word & US_QCOW2_COMPRESSED)) check({before, cleared, 0});
    }
    check({before, {0, 0xffffffff00000000}, 0});
    check({before, {NEW_HOST | US_QCOW2_COPIED, 0xffffffff}, 0xffffffff});
    if (before.word & US_QCOW2_COPIED) check({before, {before.word, 0xffffffff00000000}, 0});
}

} // namespace

int main() {
    for (uint32_t allocated : SOME)
        for (uint32_t other : SOME) {
            uint32_t zeros = other & ~allocated;
            uint64_t bits = uint64_t{zeros} << 32 | allocated;
            for (uint64_t copied : {uint64_t{0}, uint64_t{US_QCOW2_COPIED}})
                change_all({OLD_HOST | copied, bits}, allocated, zeros);
            if (allocated == 0) change_all({0, bits}, 0, zeros);
        }
    change_all({US_QCOW2_COMPRESSED | OLD_HOST, 0}, 0xffffffff, 0);
    printf("%llu parts between two stores: nothing found\n", static_cast<unsigned long long>(checked));
    return 0;
}
