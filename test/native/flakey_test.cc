// flakey: what each fault does to a request, and that the same seed does the same again.
#include <algorithm>
#include <thread>

#include "check.h"
#include "stand.h"

namespace {

using nlohmann::json;

constexpr uint64_t MiB = 1 << 20, KiB = 1 << 10, SIZE = 8 * MiB;

ConfigBuilder flaky(const TempDir &dir, json params) {
    ConfigBuilder config(dir);
    config.add("flakey", "liar", SIZE, {1}, std::move(params));
    config.add("file", "disk", SIZE);
    config.path("disk", dir.file("disk", SIZE));
    return config;
}

json counts(Served &served) {
    return served.graph().status()["instruments"][0]["counts"];
}

uint64_t count(Served &served, const char *fault) {
    return counts(served)[fault].get<uint64_t>();
}

size_t differences(const Bytes &a, const Bytes &b) {
    CHECK_EQ(a.size(), b.size());
    size_t n = 0;
    for (size_t i = 0; i < a.size(); i++)
        n += a[i] != b[i];
    return n;
}

} // namespace

TEST(flakey_without_faults_passes_everything_on) {
    TempDir dir;
    auto config = flaky(dir, {{"seed", 1}});
    Served served(config.json());
    Bytes data = pattern(1, 64 * KiB);
    CHECK_EQ(served.write(0, data, us::REQUEST_FUA).error, 0);
    CHECK(served.read(0, 64 * KiB) == data);
    CHECK_EQ(served.flush().error, 0);
    const json all = counts(served);
    for (const auto &[fault, times] : all.items())
        CHECK_EQ(times.get<int>(), 0);
    CHECK(served.graph().set("liar", {{"dropWrites.probability", 2}}) != "");
    CHECK(served.graph().set("liar", {{"corruptReads.value", 256}}) != "");
}

TEST(flakey_drops_writes_silently) {
    TempDir dir;
    auto config = flaky(dir, {{"dropWrites.startBytes", 4 * KiB}, {"dropWrites.lengthBytes", 4 * KiB}});
    Served served(config.json());
    Bytes data = pattern(1, 4 * KiB), zeros(4 * KiB);
    for (uint64_t at : {0, 4, 8})
        CHECK_EQ(served.write(at * KiB, data).error, 0);
    CHECK(served.read(0, 4 * KiB) == data);
    CHECK(served.read(4 * KiB, 4 * KiB) == zeros);
    CHECK(served.read(8 * KiB, 4 * KiB) == data);
    CHECK_EQ(count(served, "dropWrites"), uint64_t{1});
    // At run time: nothing is dropped any more.
    CHECK_EQ(served.graph().set("liar", json::object()), std::string());
    CHECK_EQ(served.write(4 * KiB, data).error, 0);
    CHECK(served.read(4 * KiB, 4 * KiB) == data);
}

TEST(flakey_tears_writes_at_a_block) {
    TempDir dir;
    auto config = flaky(dir, {{"seed", 3}, {"tornWrites.probability", 1}});
    Served served(config.json());
    int heads = 0, tails = 0;
    for (uint64_t i = 0; i < 64; i++) {
        Bytes data = pattern(100 + i, 4 * KiB);
        CHECK_EQ(served.write(i * 4 * KiB, data).error, 0);
        Bytes got = served.read(i * 4 * KiB, 4 * KiB);
        uint64_t written = 0;
        for (uint64_t block = 0; block < 8; block++) {
            auto from = [&](const Bytes &bytes) {
                return Bytes(bytes.begin() + static_cast<long>(block * 512),
                             bytes.begin() + static_cast<long>(block * 512 + 512));
            };
            if (from(got) == from(data))
                written |= 1u << block;
            else
                CHECK(from(got) == Bytes(512));
        }
        CHECK(written != 0 && written != 0xff);
        bool head = written & 1;
        uint64_t edge = head ? written + 1 : (~written & 0xff) + 1;
        CHECK((edge & (edge - 1)) == 0); // one run, from the beginning or to the end
        (head ? heads : tails)++;
    }
    CHECK(heads > 16 && tails > 16);
    CHECK_EQ(count(served, "tornWrites"), uint64_t{64});
    // One block cannot be torn.
    CHECK_EQ(served.write(SIZE - 512, pattern(1, 512)).error, 0);
    CHECK(served.read(SIZE - 512, 512) == pattern(1, 512));
    CHECK_EQ(count(served, "tornWrites"), uint64_t{64});
}

TEST(flakey_misdirects_writes_and_reads) {
    TempDir dir;
    auto config = flaky(dir, {{"seed", 5}, {"misdirectWrites.limit", 1}});
    Served served(config.json());
    Bytes data = pattern(7, 4 * KiB);
    CHECK_EQ(served.write(MiB, data).error, 0);
    Bytes all = served.read(0, SIZE);
    auto found = std::search(all.begin(), all.end(), data.begin(), data.end());
    CHECK(found != all.end());
    uint64_t at = static_cast<uint64_t>(found - all.begin());
    CHECK(at % 512 == 0 && at != MiB);
    CHECK_EQ(count(served, "misdirectWrites"), uint64_t{1});

    for (uint64_t block = 0; block < SIZE / (64 * KiB); block++)
        CHECK_EQ(served.write(block * 64 * KiB, pattern(block, 64 * KiB)).error, 0);
    CHECK_EQ(served.graph().set("liar", {{"seed", 5}, {"misdirectReads.probability", 1}}), std::string());
    CHECK(served.read(0, 64 * KiB) != pattern(0, 64 * KiB));
    CHECK_EQ(count(served, "misdirectReads"), uint64_t{1});
    // The whole layer fits nowhere else.
    served.read(0, SIZE);
    CHECK_EQ(count(served, "misdirectReads"), uint64_t{1});
}

TEST(flakey_corrupts_one_byte) {
    TempDir dir;
    auto config = flaky(dir, {{"seed", 9}, {"corruptWrites.limit", 1}, {"corruptReads.nth", 2}});
    Served served(config.json());
    Bytes data = pattern(1, 4 * KiB), kept = data;
    CHECK_EQ(served.io(US_OP_WRITE, 0, data.size(), data.data()).error, 0);
    CHECK(data == kept); // the client's own bytes
    Bytes first = served.read(0, 4 * KiB), second = served.read(0, 4 * KiB), third = served.read(0, 4 * KiB);
    CHECK_EQ(differences(first, data), size_t{1});
    CHECK_EQ(differences(second, first), size_t{1});
    CHECK(third == first);

    json named = {{"corruptReads.byte", 32}, {"corruptReads.value", 0x5a}};
    CHECK_EQ(served.graph().set("liar", named), std::string());
    CHECK_EQ(served.write(0, Bytes(4 * KiB)).error, 0);
    Bytes got = served.read(0, 4 * KiB);
    CHECK(got[31] == std::byte{0x5a});
    CHECK_EQ(differences(got, Bytes(4 * KiB)), size_t{1});
}

TEST(flakey_loses_flushes_and_fua) {
    TempDir dir;
    ConfigBuilder config(dir);
    config.add("flakey", "liar", SIZE, {1}, {{"loseFlushes.probability", 1}});
    config.add("logwrites", "record", SIZE, {2, 3});
    config.add("file", "disk", SIZE);
    config.add("file", "log", SIZE);
    config.path("disk", dir.file("disk", SIZE));
    config.path("log", dir.file("log", SIZE));
    Served served(config.json());
    CHECK_EQ(served.write(0, pattern(1, 512), us::REQUEST_FUA).error, 0);
    CHECK_EQ(served.flush().error, 0);
    CHECK_EQ(count(served, "loseFlushes"), uint64_t{2});
    json log = served.graph().status()["instruments"][1]["counts"];
    CHECK_EQ(log["flushes"].get<int>(), 0);
    CHECK_EQ(log["fua"].get<int>(), 0);
    CHECK_EQ(log["unflushed"].get<int>(), 1);
}

TEST(flakey_reads_what_was_there_before) {
    TempDir dir;
    auto config = flaky(dir, {{"staleReads.probability", 1}, {"historyBytes", 64 * KiB}});
    Served served(config.json());
    Bytes a = pattern(1, 8 * KiB), b = pattern(2, 4 * KiB);
    CHECK_EQ(served.write(0, a).error, 0);
    CHECK_EQ(served.write(0, b).error, 0);
    Bytes got = served.read(0, 16 * KiB);
    CHECK(std::equal(got.begin(), got.begin() + 4 * KiB, a.begin()));
    CHECK(std::all_of(got.begin() + 4 * KiB, got.end(), [](std::byte byte) { return byte == std::byte{0}; }));
    CHECK_EQ(count(served, "staleReads"), uint64_t{1});
    // Nothing older is known of these.
    served.read(MiB, 4 * KiB);
    CHECK_EQ(count(served, "staleReads"), uint64_t{1});
    // 64 KiB of newer history push the first out.
    CHECK_EQ(served.write(2 * MiB, pattern(3, 64 * KiB)).error, 0);
    CHECK(served.read(0, 4 * KiB) == b);
}

TEST(flakey_does_the_same_again_from_any_number_of_queues) {
    json params = {{"seed", 11},
                   {"dropWrites.probability", 0.1},
                   {"tornWrites.probability", 0.1},
                   {"misdirectWrites.probability", 0},
                   {"corruptWrites.probability", 0.1}};
    Bytes first;
    for (uint32_t queues : {1u, 4u}) {
        TempDir dir;
        auto config = flaky(dir, params);
        {
            Served served(config.json(), queues, 8);
            std::vector<std::thread> clients;
            for (uint32_t q = 0; q < queues; q++)
                clients.emplace_back([&, q] {
                    for (uint64_t i = q; i < 512; i += queues) {
                        Bytes data = pattern(i, 4 * KiB);
                        CHECK_EQ(served.io(US_OP_WRITE, i * 4 * KiB, data.size(), data.data(), 0, q).error,
                                 0);
                    }
                });
            for (std::thread &client : clients)
                client.join();
            CHECK(count(served, "dropWrites") > 20);
        }
        Bytes now = file_bytes(dir.path("disk"), 0, SIZE);
        if (first.empty()) first = now;
        CHECK(now == first);
    }
}
