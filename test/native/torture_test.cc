// mirror under load: writers that go on while members fail, come back and are copied, and while the server is
// killed. Each writer owns every fourth block, so that no two write the same place at once, and knows what
// must be there.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>

#include "check.h"
#include "faulty.h"
#include "stand.h"

namespace {

using nlohmann::json;
constexpr uint64_t MiB = 1 << 20, KiB = 1 << 10, SIZE = 16 * MiB, BLOCK = 16 * KiB, WRITERS = 4, QUEUES = 2;
constexpr uint64_t BLOCKS = SIZE / BLOCK;

// What the writers did, in memory that outlives a killed server: by block, the seed of the last write that
// was acknowledged, and of the last one that was begun. 0: zeros.
struct Ledger {
    uint64_t acknowledged[BLOCKS], begun[BLOCKS];
};

Ledger *new_ledger() {
    void *memory = mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return static_cast<Ledger *>(memory);
}

Bytes content(uint64_t seed) {
    return seed ? pattern(seed, BLOCK) : Bytes(BLOCK);
}

class Writers {
  public:
    Writers(Served &served, Ledger &ledger, uint64_t seed, bool failures_expected = false)
        : served_(served), ledger_(ledger), failures_expected_(failures_expected) {
        for (uint64_t w = 0; w < WRITERS; w++)
            threads_.emplace_back([this, w, seed] { write_blocks(w, seed); });
    }
    ~Writers() {
        ending_ = true;
        for (std::thread &thread : threads_)
            thread.join();
    }

  private:
    void write_blocks(uint64_t writer, uint64_t seed) {
        std::mt19937_64 random(seed * WRITERS + writer);
        alignas(4096) std::byte data[BLOCK]; // for direct IO
        while (!ending_) {
            uint64_t block = random() % (BLOCKS / WRITERS) * WRITERS + writer;
            us_op op = random() % 8 ? US_OP_WRITE : random() % 2 ? US_OP_DISCARD : US_OP_WRITE_ZEROES;
            uint64_t fill = op == US_OP_WRITE ? random() | 1 : 0;
            memcpy(data, content(fill).data(), BLOCK);
            ledger_.begun[block] = fill;
            uint32_t flags = random() % 4 == 0 ? uint32_t{us::REQUEST_FUA} : 0;
            Result result = served_.io(op, block * BLOCK, BLOCK, data, flags, random() % QUEUES);
            // The last member fails too, now and then: an error is an honest answer, and promises nothing.
            CHECK(result.error == 0 || (result.error == -EIO && failures_expected_));
            if (result.error == 0) ledger_.acknowledged[block] = fill;
        }
    }

    Served &served_;
    Ledger &ledger_;
    const bool failures_expected_;
    std::atomic<bool> ending_{false};
    std::vector<std::thread> threads_;
};

// doubtful: the server was killed, or told of failures.
void check_content(const Ledger &ledger, const std::string &path, bool doubtful) {
    Bytes all = file_bytes(path, 0, SIZE);
    for (uint64_t block = 0; block < BLOCKS; block++) {
        Bytes there(all.begin() + block * BLOCK, all.begin() + (block + 1) * BLOCK);
        if (there == content(ledger.acknowledged[block])) continue;
        // In flight when the server was killed, or failed: a mixture of old and new is as good as either.
        CHECK(doubtful && ledger.begun[block] != ledger.acknowledged[block]);
    }
}

bool all_in_sync(const json &mirrors) {
    for (const json &mirror : mirrors)
        for (const json &member : mirror["members"])
            if (member["state"] != "in-sync") return false;
    return true;
}

void wait_for_sync(Served &served) {
    while (!all_in_sync(served.graph().status()["mirrors"]))
        std::this_thread::yield();
}

// Mirror and member.
using Members = std::vector<std::pair<std::string, std::string>>;

// A failure that was under way may drop a member after the first attempt. Returns how many were taken back.
int take_all_back(Served &served, const Members &members) {
    int taken = 0;
    while (!all_in_sync(served.graph().status()["mirrors"]))
        for (auto &[mirror, member] : members)
            taken += served.graph().readd(mirror, member).empty();
    return taken;
}

// mirror of [file a, stripe of two mirrors of files b, c and d, e].
ConfigBuilder nested(const TempDir &dir, const std::string &frontend = "nbd") {
    ConfigBuilder config(dir, frontend);
    config.add("mirror", "safe", SIZE, {1, 2});
    config.add("file", "a", SIZE);
    config.add("stripe", "wide", SIZE, {3, 4}, {{"chunkBytes", 64 * KiB}});
    config.add("mirror", "left", SIZE / 2, {5, 6});
    config.add("mirror", "right", SIZE / 2, {7, 8});
    for (const char *name : {"b", "c", "d", "e"})
        config.add("file", name, SIZE / 2);
    for (const char *name : {"a", "b", "c", "d", "e"}) {
        config.path(name, dir.file(name, *name == 'a' ? SIZE : SIZE / 2));
        config.json()["runtime"]["blank"].push_back(name);
    }
    config.json()["runtime"]["cleanAfterMs"] = 1;
    return config;
}

void check_nested_equal(const TempDir &dir, const Ledger &ledger, bool doubtful) {
    check_content(ledger, dir.path("a"), doubtful);
    CHECK(file_bytes(dir.path("b"), 0, SIZE / 2) == file_bytes(dir.path("c"), 0, SIZE / 2));
    CHECK(file_bytes(dir.path("d"), 0, SIZE / 2) == file_bytes(dir.path("e"), 0, SIZE / 2));
    Bytes a = file_bytes(dir.path("a"), 0, SIZE), wide;
    for (uint64_t chunk = 0; chunk < SIZE / (64 * KiB); chunk++) {
        Bytes part = file_bytes(dir.path(chunk % 2 ? "d" : "b"), chunk / 2 * 64 * KiB, 64 * KiB);
        wide.insert(wide.end(), part.begin(), part.end());
    }
    CHECK(a == wide);
}

} // namespace

TEST(resync_under_concurrent_writes_ends_with_equal_members) {
    TempDir dir;
    auto config = nested(dir);
    Ledger *ledger = new_ledger();
    const Members members = {{"safe", "a"}, {"safe", "wide"}, {"left", "b"},
                             {"left", "c"}, {"right", "d"},   {"right", "e"}};
    std::vector<FaultyLeaf *> leaves;
    Served served(config.json(), QUEUES, 32, [&](us::Graph &graph) {
        for (const char *name : {"a", "b", "c", "d", "e"})
            leaves.push_back(&FaultyLeaf::install(graph, name));
    });
    std::mt19937_64 random(1);
    int readded = 0;
    {
        Writers writers(served, *ledger, 1, true);
        for (int round = 0; round < 12; round++) {
            // One leaf fails until it is dropped, at whichever mirror that is, and is then taken back while
            // all mirrors may be copying at once.
            FaultyLeaf *leaf = leaves[random() % leaves.size()];
            leaf->fail([](const us::LeafIo &io) { return us_op_writes(io.op) ? -EIO : 0; });
            while (all_in_sync(served.graph().status()["mirrors"]))
                std::this_thread::yield();
            leaf->fail({});
            for (auto &[mirror, member] : members)
                readded += served.graph().readd(mirror, member).empty();
            if (round % 3 == 2) readded += take_all_back(served, members);
        }
        readded += take_all_back(served, members);
    }
    CHECK(readded >= 4);
    check_nested_equal(dir, *ledger, true);
}

namespace {

// Rounds of a server that is killed under load, and a successor that settles.
void kill_and_settle(const std::string &frontend) {
    TempDir dir;
    auto config = nested(dir, frontend);
    Ledger *ledger = new_ledger();
    int settled = 0;
    for (uint64_t round = 1; round <= 12; round++) {
        pid_t child = fork();
        if (child == 0) {
            Served served(config.json(), QUEUES);
            std::atomic<uint64_t> left{20 + round * 37};
            Writers writers(served, *ledger, round);
            for (;;) {
                uint64_t writes = served.graph().status()["layers"][1]["writes"];
                if (writes > left) raise(SIGKILL);
            }
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        {
            us::Graph graph(config.json());
            graph.open(QUEUES, 32);
            settled += !graph.impl().live_file->inflight().busy().empty();
            us::QueueOptions options;
            us::Queue queue(graph, options);
            graph.make_ready(queue);
            CHECK(all_in_sync(graph.status()["mirrors"]));
        }
        check_nested_equal(dir, *ledger, true);
        // What was in flight has an answer now: the next round builds on what is there.
        Bytes all = file_bytes(dir.path("a"), 0, SIZE);
        for (uint64_t block = 0; block < BLOCKS; block++) {
            bool is_new =
                memcmp(all.data() + block * BLOCK, content(ledger->begun[block]).data(), BLOCK) == 0;
            if (is_new) ledger->acknowledged[block] = ledger->begun[block];
        }
    }
    CHECK(settled > 0);
}

} // namespace

TEST(killed_servers_leave_members_that_are_made_equal) {
    kill_and_settle("nbd");
}

// Direct IO: writes of the dead server may still be under way in the kernel, and only the fence waits for
// them.
TEST(killed_servers_with_direct_io_leave_members_that_are_made_equal) {
    kill_and_settle("ublk");
}

TEST(a_write_that_reached_one_member_only_is_settled) {
    TempDir dir;
    ConfigBuilder config(dir);
    config.add("mirror", "safe", SIZE, {1, 2});
    for (const char *name : {"a", "b"}) {
        config.add("file", name, SIZE);
        config.path(name, dir.file(name, SIZE));
        config.json()["runtime"]["blank"].push_back(name);
    }
    pid_t child = fork();
    if (child == 0) {
        Served served(config.json(), 1, 32, [](us::Graph &graph) {
            FaultyLeaf::install(graph, "a"); // done on the spot, before b
            FaultyLeaf::install(graph, "b").fail([](const us::LeafIo &io) {
                if (io.offset == 3 * MiB) raise(SIGKILL);
                return 0;
            });
        });
        CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
        served.write(3 * MiB, pattern(2, MiB));
        CHECK(false);
    }
    CHECK(waitpid(child, nullptr, 0) == child);
    CHECK(file_bytes(dir.path("a"), 3 * MiB, MiB) == pattern(2, MiB));
    CHECK(file_bytes(dir.path("b"), 3 * MiB, MiB) == Bytes(MiB));
    Served served(config.json());
    CHECK(file_bytes(dir.path("a"), 0, SIZE) == file_bytes(dir.path("b"), 0, SIZE));
    CHECK(served.read(0, MiB) == pattern(1, MiB));
    CHECK(all_in_sync(served.graph().status()["mirrors"]));
}

TEST(a_killed_resync_goes_on_where_it_was) {
    TempDir dir;
    dir.file("a", SIZE);
    dir.file("b", SIZE);
    ConfigBuilder config(dir);
    config.add("mirror", "safe", SIZE, {1, 2});
    for (const char *name : {"a", "b"}) {
        config.add("file", name, SIZE);
        config.path(name, dir.path(name));
    }
    pid_t child = fork();
    if (child == 0) {
        Served served(config.json(), 1, 32, [](us::Graph &graph) {
            FaultyLeaf::install(graph, "a").fail([](const us::LeafIo &io) {
                if (io.op == US_OP_READ && io.offset >= 8 * MiB) raise(SIGKILL);
                return 0;
            });
        });
        wait_for_sync(served);
        CHECK(false);
    }
    CHECK(waitpid(child, nullptr, 0) == child);
    std::atomic<uint64_t> lowest{SIZE};
    Served served(config.json(), 1, 32, [&](us::Graph &graph) {
        FaultyLeaf::install(graph, "a").fail([&](const us::LeafIo &io) {
            // Reads of the settled slots come first; they are of the last window too.
            if (io.op == US_OP_READ) lowest = std::min<uint64_t>(lowest, io.offset);
            return 0;
        });
    });
    wait_for_sync(served);
    CHECK_EQ(lowest.load(), 8 * MiB);
    CHECK(file_bytes(dir.path("a"), 0, SIZE) == file_bytes(dir.path("b"), 0, SIZE));
}
