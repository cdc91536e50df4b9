// An image under clients at random on a disk of any order, and power cuts at every moment: what is left has
// to be an image without a contradiction, whose every block reads as something that it was, and nothing older
// than what was flushed. Clients write, zero and discard, take, delete and apply snapshots, and let the disk
// grow, and compact the image: what a snapshot shows never changes, and it is there as a whole or not at all.
//
//     image-crash --states N --seed S [--image FILE | --data-file plain|raw]
//     image-crash --seed S --leave PREFIX [--data-file plain|raw]
//
// Images are made at random, or all of them are FILE, of whose disk every sector has to be one number: of
// compressed clusters and snapshots, say.
#include <cstdio>
#include <fstream>
#include <iostream>

#include "crash_case.h"
#include "media.h"

using us::qcow2::FileMedia;

namespace {

void leave(const std::string &path, const Bytes &bytes) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void run(Case &c) {
    while (c.machine.step()) {
    }
}

// Some operations of some clients, and a cut at many a step. How many states that were.
uint64_t run_case(uint64_t seed, uint64_t cuts, const Bytes *given, const std::string &prefix,
                  const std::string &data_file, Case::Done &done) {
    Case c(seed);
    c.data_file = data_file;
    bool alone = !prefix.empty();
    if (alone) c.data_name = prefix + ".data";
    c.set_up(given, alone);
    us::detach(c.begin());
    run(c);
    c.failing = !alone && c.machine.prng.one_in(8);
    // Changes of the tables take so many writes that few of them come to the header, where every twentieth
    // fails.
    if (c.failing) {
        bool header_alone = c.machine.prng.one_in(2);
        c.disk->fail_one_in = header_alone ? 0 : c.machine.prng.one_in(2) ? 20 : 200;
        c.disk->fail_header_one_in = header_alone ? 2 : c.disk->fail_one_in;
    }
    if (c.data) c.data->fail_one_in = c.disk->fail_one_in;
    // Has little room at first, and more later.
    c.narrow = !alone && c.machine.prng.one_in(8);
    if (c.narrow) c.disk->limit = c.disk->size() + c.machine.prng.below(100) * SECTOR;
    uint32_t clients = 1 + static_cast<uint32_t>(c.machine.prng.below(6));
    for (uint32_t i = 0; i < clients; i++)
        us::detach(c.client(20));
    Prng chance(seed ^ 0xc07);
    uint64_t states = 0;
    while (c.machine.step()) {
        if (states >= cuts || !chance.one_in(3)) continue;
        Bytes state = c.disk->after_cut(chance);
        if (c.data) c.data_state = c.data->after_cut(chance);
        if (alone) leave(prefix + ".cut.qcow2", state);
        c.check_state(state, false);
        states++;
    }
    if (c.clients != 0) c.fail("clients wait for ever");
    c.disk->fail_one_in = c.disk->fail_header_one_in = 0;
    c.disk->limit = UINT64_MAX;
    if (c.data) c.data->fail_one_in = 0;
    if (!c.data && !c.failing && chance.one_in(3)) {
        us::detach(c.compact_twice());
        while (c.machine.step()) {
            if (states >= cuts || !chance.one_in(8)) continue;
            c.check_state(c.disk->after_cut(chance), false);
            states++;
        }
    }
    // What was given up is free after one round, and on disk after another.
    for (int i = 0; i < 2; i++) {
        us::detach(c.flush());
        run(c);
    }
    if (c.data) c.data_state = c.data->now();
    c.check_state(c.disk->now(), true);
    done.add(c.done);
    if (alone) {
        leave(prefix + ".qcow2", c.disk->now());
        leave(prefix + ".data", c.data_state);
        c.leave_for_others(prefix);
    }
    return states + 1;
}

} // namespace

int main(int argc, char **argv) {
    uint64_t states = 20000, seed = 1;
    Bytes image;
    std::string prefix, data_file;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--states")) states = strtoull(argv[i + 1], nullptr, 10);
        if (!strcmp(argv[i], "--seed")) seed = strtoull(argv[i + 1], nullptr, 10);
        if (!strcmp(argv[i], "--leave")) prefix = argv[i + 1];
        if (!strcmp(argv[i], "--data-file")) data_file = argv[i + 1];
        if (!strcmp(argv[i], "--image")) {
            FileMedia file(opened(argv[i + 1]));
            image.resize(file.size());
            if (finished(file.read(0, image)) != 0 || image.empty()) return perror(argv[i + 1]), 2;
        }
    }
    const Bytes *given = image.empty() ? nullptr : &image;
    uint64_t seen = 0, cases = 0;
    Case::Done done;
    if (!prefix.empty()) return run_case(seed, 200, given, prefix, data_file, done), 0;
    while (seen < states)
        seen += run_case(mix(seed, cases++), 200, given, prefix, data_file, done);
    std::cout << seen << " crash states of " << cases << " cases: nothing found; snapshots: " << done.taken
              << " taken, " << done.deleted << " deleted, " << done.applied << " applied; " << done.grown
              << " times grown; " << done.larger_tables << " larger refcount tables; " << done.compacted
              << " times compacted: " << done.zeroed << " bytes of zeros, " << done.moved << " moved, "
              << done.moved_tables << " of tables\n";
    return 0;
}
