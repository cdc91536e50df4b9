// mirror: members that fail, the durable state, resync, and what a killed server leaves behind.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "check.h"
#include "faulty.h"
#include "stand.h"

namespace {

using nlohmann::json;
constexpr uint64_t MiB = 1 << 20, KiB = 1 << 10, SIZE = 16 * MiB;

ConfigBuilder mirrored(const TempDir &dir, std::vector<std::string> names = {"a", "b"}, bool blank = true) {
    ConfigBuilder config(dir);
    std::vector<uint32_t> children;
    for (uint32_t i = 0; i < names.size(); i++)
        children.push_back(i + 1);
    config.add("mirror", "safe", SIZE, children);
    for (const std::string &name : names) {
        config.add("file", name, SIZE);
        config.path(name, dir.path(name));
        if (!std::filesystem::exists(dir.path(name))) {
            dir.file(name, SIZE);
            if (blank) config.json()["runtime"]["blank"].push_back(name);
        }
    }
    return config;
}

json record(const TempDir &dir) {
    std::ifstream in(dir.path("state/mirror-safe.json"));
    return json::parse(in);
}

std::string state_of(const json &mirror, size_t member) {
    return mirror["members"][member]["state"];
}

bool all_in_sync(const json &mirror) {
    for (const json &member : mirror["members"])
        if (member["state"] != "in-sync") return false;
    return true;
}

bool equal_files(const TempDir &dir, const std::string &a, const std::string &b) {
    return file_bytes(dir.path(a), 0, SIZE) == file_bytes(dir.path(b), 0, SIZE);
}

} // namespace

TEST(mirror_writes_to_all_and_is_clean_after_an_orderly_end) {
    TempDir dir;
    auto config = mirrored(dir);
    {
        Served served(config.json());
        CHECK(all_in_sync(served.mirror()));
        CHECK(!record(dir)["dirty"]);
        CHECK_EQ(served.write(MiB, pattern(1, 3 * MiB)).error, 0);
        CHECK(record(dir)["dirty"]);
        CHECK(served.read(MiB, 3 * MiB) == pattern(1, 3 * MiB));
        CHECK_EQ(served.flush().error, 0);
    }
    CHECK(!record(dir)["dirty"]);
    CHECK(equal_files(dir, "a", "b"));
    CHECK(file_bytes(dir.path("a"), MiB, 3 * MiB) == pattern(1, 3 * MiB));
}

TEST(mirror_of_files_that_were_not_created_now_copies_the_first) {
    TempDir dir;
    dir.file("a", SIZE);
    dir.file("b", SIZE);
    auto config = mirrored(dir);
    int fd = open(dir.path("a").c_str(), O_WRONLY);
    Bytes data = pattern(7, MiB);
    CHECK(pwrite(fd, data.data(), MiB, 5 * MiB) == static_cast<ssize_t>(MiB));
    close(fd);
    Served served(config.json());
    served.wait_for(all_in_sync);
    CHECK(served.read(5 * MiB, MiB) == data);
    CHECK(equal_files(dir, "a", "b"));
    // What is a hole at the source stays one.
    CHECK_EQ(served.graph().extents(2, 0, 5 * MiB, 8).size(), 1u);
}

TEST(mirror_drops_a_member_that_fails_a_write_and_remembers) {
    TempDir dir;
    auto config = mirrored(dir);
    FaultyLeaf *b = nullptr;
    {
        Served served(config.json(), 1, 32, [&](us::Graph &graph) { b = &FaultyLeaf::install(graph, "b"); });
        CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
        b->fail_all(US_OP_WRITE, -EIO);
        CHECK_EQ(served.write(0, pattern(2, MiB)).error, 0);
        CHECK_EQ(state_of(record(dir), 1), "dropped"); // before the write was acknowledged
        b->fail({});
        CHECK(served.read(0, MiB) == pattern(2, MiB));
        CHECK(served.graph().status()["layers"][2]["errors"]["EIO"] == 2);
    }
    {
        Served served(config.json());
        CHECK_EQ(state_of(served.mirror(), 1), "dropped");
        CHECK(served.read(0, MiB) == pattern(2, MiB));
        CHECK(served.graph().readd("safe", "a") != "");
        CHECK(served.graph().readd("safe", "nobody") != "");
        CHECK_EQ(served.graph().readd("safe", "b"), "");
        served.wait_for(all_in_sync);
        CHECK(equal_files(dir, "a", "b"));
    }
    CHECK_EQ(state_of(record(dir), 1), "in-sync");
}

TEST(mirror_drops_a_member_that_is_full) {
    TempDir dir;
    ConfigBuilder config(dir);
    config.add("mirror", "safe", SIZE, {1, 2});
    config.add("file", "a", SIZE);
    config.add("file", "b", SIZE);
    for (const char *name : {"a", "b"}) {
        config.path(name, dir.file(name, SIZE));
        config.json()["runtime"]["blank"].push_back(name);
    }
    FaultyLeaf *a = nullptr;
    Served served(config.json(), 1, 32, [&](us::Graph &graph) { a = &FaultyLeaf::install(graph, "a"); });
    a->fail([](const us::LeafIo &io) { return io.op == US_OP_WRITE && io.offset >= 8 * MiB ? -ENOSPC : 0; });
    CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
    CHECK(all_in_sync(served.mirror()));
    CHECK_EQ(served.write(8 * MiB, pattern(2, MiB)).error, 0);
    CHECK_EQ(state_of(served.mirror(), 0), "dropped");
    CHECK(served.read(8 * MiB, MiB) == pattern(2, MiB));
    CHECK(served.read(0, MiB) == pattern(1, MiB));
}

TEST(mirror_reads_from_another_member_and_drops_the_one_that_cannot) {
    TempDir dir;
    auto config = mirrored(dir, {"a", "b", "c"});
    FaultyLeaf *b = nullptr;
    Served served(config.json(), 1, 32, [&](us::Graph &graph) { b = &FaultyLeaf::install(graph, "b"); });
    CHECK_EQ(served.write(0, pattern(1, SIZE)).error, 0);
    b->fail_all(US_OP_READ, -EIO);
    CHECK(served.read(0, SIZE) == pattern(1, SIZE));
    CHECK_EQ(state_of(served.mirror(), 1), "dropped");
    CHECK_EQ(state_of(served.mirror(), 0), "in-sync");
    CHECK_EQ(state_of(served.mirror(), 2), "in-sync");
}

TEST(mirror_keeps_one_member_when_all_fail) {
    TempDir dir;
    auto config = mirrored(dir);
    FaultyLeaf *a = nullptr, *b = nullptr;
    Served served(config.json(), 1, 32, [&](us::Graph &graph) {
        a = &FaultyLeaf::install(graph, "a");
        b = &FaultyLeaf::install(graph, "b");
    });
    CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
    a->fail_all(US_OP_WRITE, -ENOSPC);
    b->fail_all(US_OP_WRITE, -EIO);
    Result result = served.write(0, pattern(2, MiB));
    CHECK_EQ(result.error, -ENOSPC);
    CHECK_EQ(result.good, 0u);
    CHECK_EQ(state_of(served.mirror(), 0), "in-sync");
    CHECK_EQ(state_of(served.mirror(), 1), "dropped");
    CHECK(served.read(0, MiB) == pattern(1, MiB));
}

TEST(mirror_drops_a_member_whose_flush_fails_even_if_a_second_one_would_succeed) {
    TempDir dir;
    auto config = mirrored(dir);
    FaultyLeaf *b = nullptr;
    Served served(config.json(), 1, 32, [&](us::Graph &graph) { b = &FaultyLeaf::install(graph, "b"); });
    CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
    b->fail([failed = std::make_shared<bool>(false)](const us::LeafIo &io) {
        return io.op == US_OP_FLUSH && !std::exchange(*failed, true) ? -EIO : 0;
    });
    CHECK_EQ(served.flush().error, 0);
    CHECK_EQ(state_of(served.mirror(), 1), "dropped");
    b->fail({});
    CHECK_EQ(served.graph().readd("safe", "b"),
             ""); // all of it is written anew: the old failure is forgotten
    served.wait_for(all_in_sync);
    CHECK_EQ(served.flush().error, 0);
    CHECK(all_in_sync(served.mirror()));
}

TEST(mirror_drops_a_member_of_direct_io_whose_flush_fails_once) {
    for (bool zeroes : {false, true}) {
        TempDir dir;
        auto config = mirrored(dir);
        config.layer(2)["params"] = {{"direct", "on"}}; // no page cache of ours that would remember
        FaultyLeaf *b = nullptr;
        Served served(config.json(), 1, 32, [&](us::Graph &graph) { b = &FaultyLeaf::install(graph, "b"); });
        b->fail([failed = std::make_shared<bool>(false)](const us::LeafIo &io) {
            return io.durable() && !std::exchange(*failed, true) ? -EREMOTEIO : 0;
        });
        if (zeroes) // by another way to the same flush
            CHECK_EQ(served.io(US_OP_WRITE_ZEROES, 0, MiB, nullptr, us::REQUEST_FUA).error, 0);
        else
            CHECK_EQ(served.flush().error, 0);
        CHECK_EQ(state_of(served.mirror(), 1), "dropped");
        CHECK_EQ(std::string(served.mirror()["members"][1]["reason"]), "flush failed: Remote I/O error");
        // Each request speaks for itself: nothing of it is left for the next one.
        CHECK_EQ(served.graph().readd("safe", "b"), "");
        served.wait_for(all_in_sync);
        CHECK_EQ(served.flush().error, 0);
        CHECK(all_in_sync(served.mirror()));
    }
}

TEST(mirror_acknowledges_nothing_while_a_failure_cannot_be_recorded) {
    TempDir dir;
    auto config = mirrored(dir);
    FaultyLeaf *b = nullptr;
    Served served(config.json(), 1, 32, [&](us::Graph &graph) { b = &FaultyLeaf::install(graph, "b"); });
    CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
    // The folder's new file cannot be made where a folder of that name is.
    std::filesystem::create_directory(dir.path("state/mirror-safe.json.new"));
    b->fail_all(US_OP_WRITE, -EIO);
    CHECK_EQ(served.write(0, pattern(2, MiB)).error, -EIO);
    CHECK_EQ(served.write(4 * MiB, pattern(3, MiB)).error, -EIO);
    CHECK(served.read(0, MiB) == pattern(2, MiB) || served.read(0, MiB) == pattern(1, MiB));
    std::filesystem::remove(dir.path("state/mirror-safe.json.new"));
    CHECK_EQ(served.write(4 * MiB, pattern(3, MiB)).error, 0);
    CHECK_EQ(state_of(record(dir), 1), "dropped");
    CHECK(served.read(4 * MiB, MiB) == pattern(3, MiB));
}

TEST(mirror_remembers_across_a_kill_a_failure_that_could_not_be_recorded) {
    TempDir dir;
    auto config = mirrored(dir);
    pid_t child = fork();
    if (child == 0) {
        FaultyLeaf *b = nullptr;
        Served served(config.json(), 1, 32, [&](us::Graph &graph) { b = &FaultyLeaf::install(graph, "b"); });
        CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
        std::filesystem::create_directory(dir.path("state/mirror-safe.json.new"));
        b->fail_all(US_OP_WRITE, -EIO);
        CHECK_EQ(served.write(0, pattern(2, MiB)).error, -EIO);
        CHECK_EQ(served.flush().error, -EIO); // reads may have shown what only one member has
        raise(SIGKILL);
    }
    CHECK(waitpid(child, nullptr, 0) == child);
    std::filesystem::remove(dir.path("state/mirror-safe.json.new"));
    Served served(config.json());
    CHECK_EQ(state_of(served.mirror(), 1), "dropped");
    CHECK(served.read(0, MiB) == pattern(2, MiB));
    CHECK_EQ(served.graph().readd("safe", "b"), "");
    served.wait_for(all_in_sync);
    CHECK(equal_files(dir, "a", "b"));
}

TEST(mirror_starts_without_a_dropped_or_vanished_member_but_not_without_all) {
    TempDir dir;
    auto config = mirrored(dir);
    {
        Served served(config.json());
        CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
    }
    std::filesystem::rename(dir.path("a"), dir.path("elsewhere"));
    {
        Served served(config.json());
        CHECK_EQ(state_of(served.mirror(), 0), "dropped");
        CHECK(served.read(0, MiB) == pattern(1, MiB));
        CHECK_EQ(served.write(0, pattern(2, MiB)).error, 0);
        CHECK(served.graph().readd("safe", "a") != "");
    }
    std::filesystem::rename(dir.path("elsewhere"), dir.path("a"));
    {
        Served served(config.json()); // back, but behind: it must be asked for
        CHECK_EQ(state_of(served.mirror(), 0), "dropped");
        CHECK(served.read(0, MiB) == pattern(2, MiB));
    }
    std::filesystem::remove(dir.path("b"));
    us::Graph graph(config.json());
    std::string code;
    try {
        graph.open(1, 1);
    } catch (const us::ConfigError &error) {
        code = error.code;
    }
    CHECK_EQ(code, "member-dropped");
}

TEST(mirror_copies_to_a_member_whose_file_was_replaced) {
    TempDir dir;
    auto config = mirrored(dir);
    {
        Served served(config.json());
        CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
    }
    std::filesystem::remove(dir.path("a"));
    dir.file("a", SIZE);
    Served served(config.json());
    served.wait_for(all_in_sync);
    CHECK(served.read(0, MiB) == pattern(1, MiB));
    CHECK(equal_files(dir, "a", "b"));
}

TEST(mirror_with_a_corrupt_state_reads_only_its_first_member) {
    TempDir dir;
    auto config = mirrored(dir);
    {
        Served served(config.json());
        CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
    }
    std::ofstream(dir.path("state/mirror-safe.json")) << "{\"version\":1,";
    int fd = open(dir.path("b").c_str(), O_WRONLY);
    Bytes other = pattern(9, MiB);
    CHECK(pwrite(fd, other.data(), MiB, 0) == static_cast<ssize_t>(MiB));
    close(fd);
    Served served(config.json());
    CHECK(served.read(0, MiB) == pattern(1, MiB));
    served.wait_for(all_in_sync);
    CHECK(served.read(0, MiB) == pattern(1, MiB));
    CHECK(equal_files(dir, "a", "b"));
}

TEST(mirror_that_was_dirty_before_a_reboot_is_copied_from_its_first_member) {
    TempDir dir;
    auto config = mirrored(dir);
    pid_t child = fork();
    if (child == 0) {
        Served served(config.json());
        CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
        raise(SIGKILL);
    }
    CHECK(waitpid(child, nullptr, 0) == child);
    CHECK(record(dir)["dirty"]);
    int fd = open(dir.path("b").c_str(), O_WRONLY); // the power cut took a write
    Bytes other = pattern(9, 4096);
    CHECK(pwrite(fd, other.data(), 4096, 0) == 4096);
    close(fd);
    std::filesystem::remove(dir.path("run/live")); // a tmpfs
    config.json()["runtime"]["bootId"] = "boot-2";
    Served served(config.json());
    CHECK(served.read(0, MiB) == pattern(1, MiB));
    served.wait_for(all_in_sync);
    CHECK(equal_files(dir, "a", "b"));
}

TEST(mirror_is_marked_clean_when_idle_and_dirty_again_before_the_next_write) {
    TempDir dir;
    auto config = mirrored(dir);
    config.json()["runtime"]["cleanAfterMs"] = 1;
    Served served(config.json());
    for (uint64_t round = 0; round < 20; round++) {
        CHECK_EQ(served.write(round * 4 * KiB, pattern(round, 4 * KiB)).error, 0);
        served.wait_for([](const json &mirror) { return mirror["dirty"] == false; });
        CHECK(!record(dir)["dirty"]);
    }
    CHECK(all_in_sync(served.mirror()));
}

TEST(mirror_with_a_member_that_cannot_zero_fast_stays_whole) {
    TempDir dir;
    auto config = mirrored(dir);
    FaultyLeaf *a = nullptr, *b = nullptr;
    Served served(config.json(), 1, 32, [&](us::Graph &graph) {
        a = &FaultyLeaf::install(graph, "a");
        b = &FaultyLeaf::install(graph, "b");
    });
    CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
    b->fail_all(US_OP_WRITE_ZEROES, -EOPNOTSUPP);
    CHECK_EQ(served.io(US_OP_WRITE_ZEROES, 0, 64 * KiB, nullptr, us::REQUEST_FAST_ONLY).error, 0);
    CHECK(served.read(0, 64 * KiB) == Bytes(64 * KiB));
    a->fail_all(US_OP_WRITE_ZEROES, -EOPNOTSUPP);
    CHECK_EQ(served.io(US_OP_WRITE_ZEROES, 64 * KiB, 64 * KiB, nullptr, us::REQUEST_FAST_ONLY).error,
             -EOPNOTSUPP);
    CHECK(served.read(64 * KiB, 64 * KiB) == Bytes(file_bytes(dir.path("b"), 64 * KiB, 64 * KiB)));
    CHECK(all_in_sync(served.mirror()));
    CHECK(equal_files(dir, "a", "b"));
}

TEST(nested_mirrors_lose_a_leg_inside_before_one_outside) {
    TempDir dir;
    ConfigBuilder config(dir);
    config.add("mirror", "safe", SIZE, {1, 2});
    config.add("mirror", "inner", SIZE, {3, 4});
    config.add("file", "c", SIZE);
    config.add("file", "a", SIZE);
    config.add("file", "b", SIZE);
    for (const char *name : {"a", "b", "c"}) {
        config.path(name, dir.file(name, SIZE));
        config.json()["runtime"]["blank"].push_back(name);
    }
    FaultyLeaf *a = nullptr, *b = nullptr;
    Served served(config.json(), 1, 32, [&](us::Graph &graph) {
        a = &FaultyLeaf::install(graph, "a");
        b = &FaultyLeaf::install(graph, "b");
    });
    CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
    a->fail_all(US_OP_WRITE, -EIO);
    CHECK_EQ(served.write(0, pattern(2, MiB)).error, 0);
    json mirrors = served.graph().status()["mirrors"];
    CHECK(all_in_sync(mirrors[0]));
    CHECK_EQ(state_of(mirrors[1], 0), "dropped");
    b->fail_all(US_OP_WRITE, -EIO);
    CHECK_EQ(served.write(0, pattern(3, MiB)).error, 0);
    mirrors = served.graph().status()["mirrors"];
    CHECK_EQ(state_of(mirrors[0], 0), "dropped");
    CHECK(served.read(0, MiB) == pattern(3, MiB));
}
