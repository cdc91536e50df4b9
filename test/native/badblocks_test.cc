// badblocks, readonly and zero: what they refuse, and what lifts it.
#include <cerrno>

#include "check.h"
#include "faulty.h"
#include "stand.h"
#include "targets/badblocks/ranges.h"

namespace {

using nlohmann::json;
constexpr uint64_t KiB = 1 << 10, MiB = 1 << 20;

ConfigBuilder over_file(const TempDir &dir, const std::string &type, const json &params) {
    ConfigBuilder config(dir);
    config.add(type, "top", 4 * MiB, {1}, params);
    config.add("file", "disk", 4 * MiB);
    config.path("disk", dir.file("disk", 4 * MiB));
    return config;
}

json status_of(Served &served) {
    return served.graph().status()["instruments"][0];
}

std::string listed(Served &served) {
    return status_of(served)["settings"]["blocks"];
}

int32_t read_error(Served &served, uint64_t offset, uint64_t length) {
    Bytes data(length);
    return served.io(US_OP_READ, offset, length, data.data()).error;
}

} // namespace

TEST(a_set_of_ranges_is_that_of_its_numbers) {
    us::Ranges set;
    std::vector<bool> plain(64);
    uint64_t x = 7;
    auto random = [&](uint64_t below) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        return x % below;
    };
    for (int turn = 0; turn < 20'000; turn++) {
        uint64_t begin = random(64), end = begin + 1 + random(64 - begin);
        bool any = false;
        uint64_t count = 0, before = 0;
        for (uint64_t i = 0; i < 64; i++) {
            bool inside = i >= begin && i < end;
            any |= inside && plain[i];
            count += inside && plain[i];
            before += plain[i];
        }
        CHECK_EQ(set.touches(begin, end), any);
        CHECK_EQ(set.count(begin, end), count);
        CHECK_EQ(set.size(), before);
        if (any) CHECK(set.first() <= set.last() && plain[set.first()] && plain[set.last()]);
        bool adding = random(2);
        if (adding)
            set.add(begin, end);
        else
            CHECK_EQ(set.remove(begin, end), count);
        for (uint64_t i = begin; i < end; i++)
            plain[i] = adding;
        CHECK_EQ(us::Ranges(set.text(64)).text(64), set.text(64));
    }
    CHECK_EQ(us::Ranges("7,1-3,4,9-12,11-20").text(9), "1-4,7,9-20");
    CHECK_EQ(us::Ranges("1,3,5").text(2), "1,3,…");
    for (const char *text : {"a", "1-", "-1", "3-2", "1,,2", "9007199254740992", "1-2-3", "1 "}) {
        std::string code;
        try {
            us::Ranges bad(text);
        } catch (const us::ConfigError &error) {
            code = error.code;
        }
        CHECK_EQ(code, "bad-value");
    }
}

TEST(bad_blocks_fail_reads_until_they_are_rewritten) {
    TempDir dir;
    auto config = over_file(dir, "badblocks", {{"blocks", "2,8-11"}, {"blockBytes", 4096}});
    Served served(config.json());
    CHECK_EQ(read_error(served, 0, 8 * KiB), 0);
    CHECK_EQ(read_error(served, 0, 8 * KiB + 512), -EIO);
    CHECK_EQ(read_error(served, 12 * KiB, 20 * KiB), 0);
    CHECK_EQ(read_error(served, 44 * KiB, 512), -EIO);
    CHECK_EQ(read_error(served, 48 * KiB, MiB), 0);

    Bytes data = pattern(1, 4096);
    CHECK_EQ(served.write(8 * KiB, data).error, 0);
    CHECK(served.read(8 * KiB, 4096) == data);
    CHECK_EQ(listed(served), "8-11");
    CHECK_EQ(served.write(36 * KiB + 512, Bytes(512)).error, 0); // a part is enough, as for dm-dust
    CHECK_EQ(listed(served), "8,10-11");
    CHECK_EQ(served.io(US_OP_DISCARD, 40 * KiB, 4096).error, 0);
    CHECK_EQ(served.io(US_OP_WRITE_ZEROES, 44 * KiB, 4096).error, 0);
    CHECK_EQ(listed(served), "8");
    json counts = status_of(served)["counts"];
    CHECK(counts == json({{"failedReads", 2}, {"failedWrites", 0}, {"clearedBlocks", 4}, {"badBlocks", 1}}));

    CHECK_EQ(served.write(32 * KiB, data).error, 0);
    CHECK_EQ(served.graph().live().layers[0].gate, 0u); // nothing is looked at any more
    CHECK(served.read(0, 4 * MiB).size() == 4 * MiB);
}

TEST(a_write_that_fails_below_clears_nothing) {
    TempDir dir;
    auto config = over_file(dir, "badblocks", {{"blocks", "0"}});
    Served served(config.json(), 1, 32, [](us::Graph &graph) {
        FaultyLeaf::install(graph, "disk").fail_all(US_OP_WRITE, -ENOSPC);
    });
    CHECK_EQ(served.write(0, Bytes(4096)).error, -ENOSPC);
    CHECK_EQ(listed(served), "0");
    CHECK_EQ(read_error(served, 0, 512), -EIO);
}

TEST(bad_blocks_may_refuse_some_writes_first) {
    TempDir dir;
    auto config = over_file(dir, "badblocks", {{"blocks", "1-3"}, {"writeFailures", 2}});
    Served served(config.json());
    CHECK_EQ(served.write(512, Bytes(512)).error, -EIO); // 1: once
    CHECK_EQ(served.write(0, Bytes(2048)).error, -EIO);  // 1: twice, 2 and 3: once
    CHECK_EQ(served.write(512, Bytes(512)).error, 0);    // 1 is good
    CHECK_EQ(served.write(1024, Bytes(1024)).error, -EIO);
    CHECK_EQ(served.write(0, Bytes(2048)).error, 0);
    CHECK_EQ(listed(served), "");
    CHECK(status_of(served)["counts"]["failedWrites"] == 3);
}

TEST(the_list_changes_while_it_runs_and_by_nothing_else) {
    TempDir dir;
    json params = {{"blocks", "0,8"}, {"enabled", true}};
    auto config = over_file(dir, "badblocks", params);
    Served served(config.json());
    CHECK_EQ(served.write(0, Bytes(512)).error, 0);
    params["enabled"] = false;
    CHECK_EQ(served.graph().set("top", params), "");
    CHECK_EQ(served.write(8 * 512, Bytes(512)).error, 0);
    CHECK_EQ(read_error(served, 0, MiB), 0);
    params["enabled"] = true;
    CHECK_EQ(served.graph().set("top", params), "");
    CHECK_EQ(listed(served), "8");
    CHECK_EQ(read_error(served, 8 * 512, 512), -EIO);
    params["blocks"] = "0-99999999999";
    CHECK_EQ(served.graph().set("top", params), "");
    CHECK_EQ(read_error(served, 4 * MiB - 512, 512), -EIO);
    params["blocks"] = "1-";
    CHECK(served.graph().set("top", params) != "");
    CHECK_EQ(listed(served), "0-99999999999");
    params["blocks"] = "";
    CHECK_EQ(served.graph().set("top", params), "");
    CHECK_EQ(read_error(served, 0, 4 * MiB), 0);
    for (json wrong : {json{{"blockBytes", 0}}, json{{"blockBytes", 8 * MiB}}, json{{"writeFailures", 256}}})
        CHECK(served.graph().set("top", wrong) != "");
}

TEST(a_disk_turns_read_only_and_back) {
    TempDir dir;
    auto config = over_file(dir, "readonly", {{"enabled", false}});
    Served served(config.json());
    Bytes data = pattern(3, 4096);
    CHECK_EQ(served.write(0, data).error, 0);
    CHECK_EQ(served.graph().set("top", {{"enabled", true}}), "");
    CHECK_EQ(served.write(0, Bytes(4096)).error, -EROFS);
    CHECK_EQ(served.io(US_OP_DISCARD, 0, 4096).error, -EROFS);
    CHECK_EQ(served.io(US_OP_WRITE_ZEROES, 0, 4096).error, -EROFS);
    CHECK_EQ(served.flush().error, 0);
    CHECK(served.read(0, 4096) == data);
    CHECK(status_of(served)["counts"]["refused"] == 3);
    CHECK_EQ(served.graph().set("top", {{"enabled", false}}), "");
    CHECK_EQ(served.write(0, Bytes(4096)).error, 0);
    CHECK(served.graph().set("top", {{"enabled", 1}}) != "");
}

TEST(zero_reads_as_zeros_whatever_was_written) {
    TempDir dir;
    ConfigBuilder config(dir);
    config.add("zero", "z", 4 * MiB);
    Served served(config.json());
    CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
    CHECK_EQ(served.io(US_OP_DISCARD, 0, MiB).error, 0);
    CHECK(served.read(0, 4 * MiB) == Bytes(4 * MiB));
}
