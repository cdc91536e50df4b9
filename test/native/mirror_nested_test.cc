// Mirrors below other layers: what a request that is not over, or a killed server, may leave different in
// them.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>

#include "check.h"
#include "faulty.h"
#include "stand.h"

namespace {

using nlohmann::json;
constexpr uint64_t MiB = 1 << 20, KiB = 1 << 10, SIZE = 16 * MiB;

// A door that one thread waits at.
class Door {
  public:
    void wait() {
        std::unique_lock lock(mutex_);
        reached_ = true;
        changed_.notify_all();
        changed_.wait(lock, [this] { return open_; });
    }
    // False when it was opened before.
    bool wait_until_reached() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return reached_ || open_; });
        return reached_;
    }
    void open() {
        std::lock_guard lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool reached_ = false, open_ = false;
};

ConfigBuilder with_files(ConfigBuilder config, const TempDir &dir, const std::vector<std::string> &names,
                         uint64_t size) {
    for (const std::string &name : names) {
        config.add("file", name, size);
        config.path(name, dir.file(name, size));
        config.json()["runtime"]["blank"].push_back(name);
    }
    return config;
}

json record(const TempDir &dir, const std::string &mirror) {
    std::ifstream in(dir.path("state/mirror-" + mirror + ".json"));
    return json::parse(in);
}

// No state can be written while it is there.
std::string obstacle(const TempDir &dir, const std::string &mirror) {
    return dir.path("state/mirror-" + mirror + ".json.new");
}

bool in_sync(const json &mirror, std::initializer_list<size_t> members) {
    for (size_t member : members)
        if (mirror["members"][member]["state"] != "in-sync") return false;
    return true;
}

void run_to_its_death(const std::function<void()> &life) {
    pid_t child = fork();
    if (child == 0) {
        life();
        _exit(1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

bool equal(const TempDir &dir, const char *a, const char *b) {
    return file_bytes(dir.path(a), 0, SIZE) == file_bytes(dir.path(b), 0, SIZE);
}

// Both halves of a write go out at once, and the half of d fails. While the write is carried out again, it
// waits in front of a. False when the mirrors had closed their gates before the write came, and it was
// careful from the start.
bool is_carried_out_again_while_idle() {
    TempDir dir;
    ConfigBuilder config(dir);
    config.add("stripe", "wide", SIZE, {1, 2}, {{"chunkBytes", 4 * KiB}});
    config.add("mirror", "left", SIZE / 2, {3, 4});
    config.add("mirror", "right", SIZE / 2, {5, 6});
    config = with_files(config, dir, {"a", "b", "c", "d"}, SIZE / 2);
    config.json()["runtime"]["cleanAfterMs"] = 50;
    Door door;
    FaultyLeaf *d = nullptr;
    std::atomic<bool> failed{false};
    Served served(config.json(), 2, 32, [&](us::Graph &graph) {
        FaultyLeaf::install(graph, "a").fail([&](const us::LeafIo &io) {
            if (io.op == US_OP_WRITE && failed) door.wait();
            return 0;
        });
        d = &FaultyLeaf::install(graph, "d");
    });
    Bytes data = pattern(1, 8 * KiB);
    std::thread writer([&] {
        CHECK_EQ(served.io(US_OP_WRITE, 0, data.size(), data.data(), 0, 1).error, 0);
        d->fail([&](const us::LeafIo &io) {
            if (io.op != US_OP_WRITE) return 0;
            failed = true;
            return -EIO;
        });
        data = pattern(2, data.size());
        CHECK_EQ(served.io(US_OP_WRITE, 0, data.size(), data.data(), 0, 1).error, 0);
        door.open();
    });
    bool reached = door.wait_until_reached();
    if (reached) {
        us_live_layer &right = served.graph().live().layers[2];
        while (std::atomic_ref<uint32_t>(right.gate).load() & US_LIVE_WRITE_OPEN)
            std::this_thread::yield();
        for (int round = 0; round < 100; round++) {
            served.read(64 * KiB, 4 * KiB);                  // a turn of the queue that cleans
            CHECK(served.graph().readd("right", "c") != ""); // and of the helper thread
            CHECK(record(dir, "right")["dirty"]);
        }
        door.open();
    }
    writer.join();
    CHECK_EQ(std::string(record(dir, "right")["members"][1]["state"]), "dropped");
    return reached;
}

} // namespace

TEST(mirror_is_not_marked_clean_while_a_request_is_carried_out_again) {
    while (!is_carried_out_again_while_idle()) {
    }
}

namespace {

// safe: c, and inner of a, b and d.
ConfigBuilder mirror_in_mirror(const TempDir &dir) {
    ConfigBuilder config(dir);
    config.add("mirror", "safe", SIZE, {1, 5});
    config.add("mirror", "inner", SIZE, {2, 3, 4});
    return with_files(config, dir, {"a", "b", "d", "c"}, SIZE);
}

} // namespace

TEST(mirror_that_could_not_be_opened_after_a_kill_is_copied_when_it_can_be) {
    TempDir dir;
    json config = mirror_in_mirror(dir).json();
    run_to_its_death([&] {
        Served served(config, 1, 32, [&](us::Graph &graph) {
            FaultyLeaf::install(graph, "a");
            FaultyLeaf::install(graph, "b").fail([](const us::LeafIo &io) {
                return io.op == US_OP_WRITE && io.offset == MiB ? raise(SIGKILL) : 0;
            });
        });
        CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
        served.write(MiB, pattern(2, MiB));
    });
    CHECK(!equal(dir, "a", "b"));
    std::filesystem::create_directory(obstacle(dir, "inner"));
    run_to_its_death([&] {
        Served served(config);
        CHECK_EQ(std::string(served.mirror()["members"][0]["state"]), "dropped");
        raise(SIGKILL);
    });
    std::filesystem::remove(obstacle(dir, "inner"));
    Served served(config);
    auto inner = [&] { return served.graph().status()["mirrors"][1]; };
    while (!in_sync(inner(), {0, 1, 2}))
        std::this_thread::yield();
    CHECK(equal(dir, "a", "b") && equal(dir, "a", "d"));
}

TEST(mirror_that_was_dropped_by_another_is_made_equal_after_a_kill) {
    TempDir dir;
    json config = mirror_in_mirror(dir).json();
    run_to_its_death([&] {
        Door door;
        Served served(config, 2, 32, [&](us::Graph &graph) {
            FaultyLeaf::install(graph, "a");
            FaultyLeaf::install(graph, "b").fail([&](const us::LeafIo &io) {
                if (io.op == US_OP_WRITE && io.offset == MiB) door.wait();
                return 0;
            });
            FaultyLeaf::install(graph, "d").fail([](const us::LeafIo &io) {
                return io.op == US_OP_WRITE && io.offset == 2 * MiB ? -EIO : 0;
            });
        });
        CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
        Bytes data = pattern(2, MiB);
        std::thread writer([&] { served.io(US_OP_WRITE, MiB, MiB, data.data(), 0, 1); });
        CHECK(door.wait_until_reached());
        std::filesystem::create_directory(obstacle(dir, "inner"));
        CHECK_EQ(served.write(2 * MiB, pattern(3, MiB)).error, 0);
        CHECK_EQ(std::string(served.mirror()["members"][0]["state"]), "dropped");
        raise(SIGKILL);
    });
    std::filesystem::remove(obstacle(dir, "inner"));
    Served served(config, 2);
    CHECK_EQ(std::string(served.mirror()["members"][0]["state"]), "dropped");
    CHECK(in_sync(served.graph().status()["mirrors"][1], {0, 1}));
    CHECK(equal(dir, "a", "b"));
}

TEST(mirror_puts_a_failure_on_record_when_it_can_though_nobody_writes) {
    TempDir dir;
    ConfigBuilder config(dir);
    config.add("mirror", "safe", SIZE, {1, 2});
    config = with_files(config, dir, {"a", "b"}, SIZE);
    FaultyLeaf *b = nullptr;
    Served served(config.json(), 1, 32, [&](us::Graph &graph) { b = &FaultyLeaf::install(graph, "b"); });
    std::filesystem::create_directory(obstacle(dir, "safe"));
    b->fail_all(US_OP_FLUSH, -EIO);
    CHECK_EQ(served.flush().error, -EIO);
    CHECK(in_sync(served.mirror(), {0, 1}));
    std::filesystem::remove(obstacle(dir, "safe"));
    served.wait_for([](const json &mirror) { return mirror["members"][1]["state"] == "dropped"; });
    CHECK_EQ(std::string(record(dir, "safe")["members"][1]["state"]), "dropped");
}
