// cow: the base is never written, the overlay holds every change, and is gone when it should be.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "check.h"
#include "faulty.h"
#include "stand.h"

namespace {

using nlohmann::json;

constexpr uint64_t MiB = 1 << 20, KiB = 1 << 10;
// No whole number of granules.
constexpr uint64_t SIZE = 4 * MiB + 3 * 512;

ConfigBuilder on_golden(const TempDir &dir, bool overlay, json params = json::object()) {
    ConfigBuilder config(dir);
    config.add("cow", "scratch", SIZE, overlay ? std::vector<uint32_t>{1, 2} : std::vector<uint32_t>{1},
               std::move(params));
    config.layer(config.add("file", "golden", SIZE))["readOnly"] = true;
    if (!std::filesystem::exists(dir.path("golden"))) {
        Bytes data = pattern(42, SIZE);
        std::ofstream(dir.path("golden"), std::ios::binary)
            .write(reinterpret_cast<char *>(data.data()), static_cast<std::streamsize>(data.size()));
    }
    config.path("golden", dir.path("golden"));
    if (!overlay) return config;
    config.add("file", "changes", SIZE);
    if (!std::filesystem::exists(dir.path("changes"))) dir.file("changes", SIZE);
    config.path("changes", dir.path("changes"));
    return config;
}

json counts(Served &served) {
    return served.graph().status()["instruments"][0]["counts"];
}

void check_base(const TempDir &dir) {
    CHECK(file_bytes(dir.path("golden"), 0, SIZE) == pattern(42, SIZE));
}

} // namespace

TEST(cow_random_changes_are_those_of_a_plain_disk) {
    for (bool overlay : {false, true}) {
        for (uint64_t granule : {512, 4096, 65536}) {
            TempDir dir;
            auto config = on_golden(dir, overlay, {{"granuleBytes", granule}});
            Bytes model = pattern(42, SIZE);
            Served served(config.json());
            std::mt19937_64 random(granule + overlay);
            for (uint64_t i = 0; i < 600; i++) {
                uint64_t blocks = SIZE / 512, at = random() % blocks * 512;
                uint64_t length = std::min((1 + random() % 300) * 512, SIZE - at);
                auto place = model.begin() + static_cast<long>(at);
                auto end = place + static_cast<long>(length);
                switch (random() % 4) {
                case 0: {
                    Bytes data = pattern(i, length);
                    CHECK_EQ(served.write(at, data, i % 5 ? 0 : uint32_t{us::REQUEST_FUA}).error, 0);
                    std::copy(data.begin(), data.end(), place);
                    break;
                }
                case 1:
                    CHECK_EQ(served.io(i % 2 ? US_OP_DISCARD : US_OP_WRITE_ZEROES, at, length).error, 0);
                    std::fill(place, end, std::byte{0});
                    break;
                default:
                    CHECK(served.read(at, length) == Bytes(place, end));
                }
            }
            CHECK_EQ(served.flush().error, 0);
            CHECK(served.read(0, SIZE) == model);
            check_base(dir);
        }
    }
}

TEST(cow_reset_shows_the_base_again) {
    for (bool overlay : {false, true}) {
        TempDir dir;
        auto config = on_golden(dir, overlay);
        Served served(config.json());
        CHECK_EQ(served.write(512, pattern(1, MiB)).error, 0);
        CHECK(counts(served)["overlayBytes"].get<uint64_t>() >= MiB);
        CHECK_EQ(counts(served)["copiedUp"].get<int>(), 2);
        CHECK_EQ(served.graph().set("scratch", {{"reset", "1"}}), std::string());
        CHECK(served.read(0, SIZE) == pattern(42, SIZE));
        CHECK_EQ(counts(served)["overlayBytes"].get<int>(), 0);
        CHECK_EQ(served.write(0, pattern(2, 512)).error, 0);
        // Told again, or without a word, it stays.
        CHECK_EQ(served.graph().set("scratch", {{"reset", "1"}}), std::string());
        CHECK_EQ(served.graph().set("scratch", json::object()), std::string());
        CHECK(served.read(0, 512) == pattern(2, 512));
        CHECK_EQ(counts(served)["resets"].get<int>(), 1);
        if (overlay) CHECK(file_bytes(dir.path("changes"), MiB / 2, 4096) == Bytes(4096)); // given back
    }
}

TEST(cow_overlay_outlives_a_killed_server_and_no_reboot) {
    for (bool overlay : {false, true}) {
        TempDir dir;
        auto config = on_golden(dir, overlay);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            Served served(config.json());
            CHECK_EQ(served.write(4096 + 512, pattern(1, 64 * KiB)).error, 0);
            kill(getpid(), SIGKILL);
        }
        CHECK(waitpid(child, nullptr, 0) == child);
        {
            Served served(config.json());
            CHECK(served.read(4096 + 512, 64 * KiB) == pattern(1, 64 * KiB));
            CHECK(counts(served)["overlayBytes"].get<uint64_t>() >= 64 * KiB);
        }
        auto asked = on_golden(dir, overlay, {{"reset", "while it was down"}});
        { CHECK(Served(asked.json()).read(0, SIZE) == pattern(42, SIZE)); }
        { CHECK_EQ(Served(asked.json()).write(0, pattern(3, 512)).error, 0); }
        { CHECK(Served(asked.json()).read(0, 512) == pattern(3, 512)); }
        asked.json()["runtime"]["bootId"] = "boot-2";
        { CHECK(Served(asked.json()).read(0, SIZE) == pattern(42, SIZE)); }
        check_base(dir);
    }
}

TEST(cow_small_writes_to_one_granule_from_many_queues_all_arrive) {
    TempDir dir;
    auto config = on_golden(dir, true, {{"granuleBytes", 64 * KiB}});
    Served served(config.json(), 4, 32);
    std::vector<std::thread> clients;
    // 128 blocks in each granule, dealt out to eight clients.
    for (uint32_t c = 0; c < 8; c++)
        clients.emplace_back([&, c] {
            for (uint64_t block = c; block < 4 * MiB / 512 / 8; block += 8) {
                Bytes data = pattern(block, 512);
                CHECK_EQ(served.io(US_OP_WRITE, block * 512, 512, data.data(), 0, c % 4).error, 0);
            }
        });
    for (std::thread &client : clients)
        client.join();
    for (uint64_t block = 0; block < 4 * MiB / 512 / 8; block++)
        CHECK(served.read(block * 512, 512) == pattern(block, 512));
    CHECK_EQ(counts(served)["copiedUp"].get<uint64_t>(), 4 * MiB / 8 / (64 * KiB));
    check_base(dir);
}

// Each block is either the base's or one of the writer's, whole, whatever a reset interrupts.
TEST(cow_reset_among_reads_and_writes) {
    TempDir dir;
    auto config = on_golden(dir, false);
    Served served(config.json(), 2, 16);
    Bytes base = pattern(42, SIZE), mine = pattern(7, 64 * KiB);
    std::atomic<bool> over{false};
    std::thread writer([&] {
        for (uint64_t i = 0; !over; i++) {
            Bytes data = mine;
            CHECK_EQ(served.io(US_OP_WRITE, 512, data.size(), data.data(), 0, 0).error, 0);
        }
    });
    std::thread reader([&] {
        Bytes got(80 * KiB);
        while (!over) {
            CHECK_EQ(served.io(US_OP_READ, 0, got.size(), got.data(), 0, 1).error, 0);
            for (uint64_t at = 0; at < got.size(); at += 512) {
                auto is = [&](const Bytes &bytes, uint64_t offset) {
                    return std::equal(got.begin() + static_cast<long>(at),
                                      got.begin() + static_cast<long>(at + 512),
                                      bytes.begin() + static_cast<long>(offset));
                };
                bool inside = at >= 512 && at < 512 + mine.size();
                CHECK(is(base, at) || (inside && is(mine, at - 512)));
            }
        }
    });
    for (int i = 0; i < 40; i++)
        CHECK_EQ(served.graph().set("scratch", {{"reset", std::to_string(i)}}), std::string());
    over = true;
    writer.join();
    reader.join();
    CHECK_EQ(counts(served)["resets"].get<int>(), 40);
    check_base(dir);
}

// Whoever asks is answered, and other requests go on, however long one of them takes below.
TEST(cow_reset_does_not_wait_for_ever) {
    TempDir dir;
    ConfigBuilder config(dir);
    config.add("cow", "scratch", MiB, {1});
    config.add("delay", "slow", MiB, {2});
    config.layer(config.add("file", "golden", MiB))["readOnly"] = true;
    config.path("golden", dir.file("golden", MiB));
    Served served(config.json());
    CHECK_EQ(served.write(0, pattern(1, 64 * KiB)).error, 0);
    CHECK_EQ(served.graph().set("slow", {{"read", "fixed 3600000000000"}}), std::string());
    std::thread reader([&] { CHECK(served.read(512 * KiB, 512) == Bytes(512)); });
    while (served.graph().status()["queues"][0]["inFlight"] == 0)
        std::this_thread::yield();
    CHECK(served.graph().set("scratch", {{"reset", "1"}}).find("under way below") != std::string::npos);
    CHECK(served.read(0, 64 * KiB) == pattern(1, 64 * KiB));
    CHECK_EQ(served.graph().set("slow", json::object()), std::string());
    reader.join();
    CHECK_EQ(served.graph().set("scratch", {{"reset", "1"}}), std::string());
    CHECK(served.read(0, 64 * KiB) == Bytes(64 * KiB));
}

TEST(cow_failed_change_leaves_what_was_there) {
    TempDir dir;
    auto config = on_golden(dir, true);
    FaultyLeaf *changes = nullptr, *golden = nullptr;
    Served served(config.json(), 1, 32, [&](us::Graph &graph) {
        changes = &FaultyLeaf::install(graph, "changes");
        golden = &FaultyLeaf::install(graph, "golden");
    });
    changes->fail_all(US_OP_WRITE, -ENOSPC);
    CHECK_EQ(served.write(0, pattern(1, 64 * KiB)).error, -ENOSPC);
    CHECK_EQ(served.write(MiB + 512, pattern(1, 512)).error, -ENOSPC);
    changes->fail({});
    CHECK(served.read(0, SIZE) == pattern(42, SIZE));
    golden->fail_all(US_OP_READ, -EIO);
    CHECK_EQ(served.write(MiB + 512, pattern(1, 512)).error, -EIO);
    CHECK_EQ(served.write(0, pattern(1, 8 * KiB)).error, 0); // whole granules need nothing of the base
    CHECK(served.read(0, 8 * KiB) == pattern(1, 8 * KiB));
    golden->fail({});
    CHECK(served.read(MiB, 4 * KiB) == file_bytes(dir.path("golden"), MiB, 4 * KiB));
}
