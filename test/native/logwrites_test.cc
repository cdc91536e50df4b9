// logwrites: what stands in the log, in which order, and what becomes of it when servers die or the log is
// full.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <thread>

#include "check.h"
#include "faulty.h"
#include "stand.h"
#include "targets/logwrites/format.h"
#include "targets/logwrites/sha256.h"

namespace {

using namespace us::logformat;
using nlohmann::json;

constexpr uint64_t MiB = 1 << 20, KiB = 1 << 10, SECTOR = 512;

struct Logged {
    Entry entry;
    std::string text;
    Bytes data;
};

// Another reading of the format than the layer's own.
std::vector<Logged> read_log(const std::string &path, uint64_t sector = SECTOR) {
    Bytes bytes = file_bytes(path, 0, std::filesystem::file_size(path));
    Super super;
    memcpy(&super, bytes.data(), sizeof super);
    CHECK_EQ(super.magic, MAGIC);
    CHECK_EQ(super.version, uint64_t{1});
    CHECK_EQ(uint64_t{super.sector_bytes}, sector);
    std::vector<Logged> log;
    uint64_t at = sector;
    for (uint64_t i = 0; i < super.nr_entries; i++) {
        Logged one;
        memcpy(&one.entry, &bytes[at], sizeof one.entry);
        one.text.assign(reinterpret_cast<char *>(&bytes[at + sizeof one.entry]), one.entry.data_bytes);
        at += sector;
        uint64_t length = one.entry.flags & DISCARD ? 0 : one.entry.nr_sectors * sector;
        one.data.assign(&bytes[at], &bytes[at] + length);
        at += length;
        log.push_back(std::move(one));
    }
    return log;
}

// "w0+8 f w8+8!": a write of 8 sectors at 0, a flush, a FUA write.
std::string shape(const std::vector<Logged> &log) {
    std::string text;
    for (const Logged &one : log) {
        const Entry &e = one.entry;
        text += text.empty() ? "" : " ";
        std::string range = std::to_string(e.sector) + "+" + std::to_string(e.nr_sectors);
        if (e.flags & MARK)
            text += "'" + one.text + "'";
        else if (e.flags & FLUSH)
            text += "f";
        else
            text += (e.flags & DISCARD ? "d" : "w") + range + (e.flags & FUA ? "!" : "");
    }
    return text;
}

ConfigBuilder recorded(const TempDir &dir, uint64_t log_bytes = 16 * MiB, json params = json::object()) {
    ConfigBuilder config(dir);
    config.add("logwrites", "record", 8 * MiB, {1, 2}, std::move(params));
    config.add("file", "disk", 8 * MiB);
    config.add("file", "log", log_bytes);
    for (const char *name : {"disk", "log"})
        if (!std::filesystem::exists(dir.path(name))) dir.file(name, name[0] == 'd' ? 8 * MiB : log_bytes);
    config.path("disk", dir.path("disk"));
    config.path("log", dir.path("log"));
    return config;
}

json counts(Served &served) {
    return served.graph().status()["instruments"][0]["counts"];
}

// What the log says to write, written, is what the base holds.
void check_replay(const TempDir &dir) {
    Bytes disk(8 * MiB, std::byte{0});
    for (const Logged &one : read_log(dir.path("log"))) {
        if (one.entry.flags & (MARK | FLUSH)) continue;
        auto begin = disk.begin() + static_cast<long>(one.entry.sector * SECTOR);
        if (one.entry.flags & DISCARD)
            std::fill_n(begin, one.entry.nr_sectors * SECTOR, std::byte{0});
        else
            std::copy(one.data.begin(), one.data.end(), begin);
    }
    CHECK(disk == file_bytes(dir.path("disk"), 0, 8 * MiB));
}

} // namespace

TEST(logwrites_sha256_is_the_standard_one) {
    auto of = [](const std::string &text) { return us::sha256(std::as_bytes(std::span(text))); };
    CHECK_EQ(of(""), std::string("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    CHECK_EQ(of("abc"), std::string("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    CHECK_EQ(of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
             std::string("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"));
    CHECK_EQ(of(std::string(1'000'000, 'a')),
             std::string("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
}

TEST(logwrites_logs_writes_with_the_flush_that_made_them_durable) {
    TempDir dir;
    auto config = recorded(dir);
    {
        Served served(config.json());
        Bytes a = pattern(1, 4 * KiB), b = pattern(2, 8 * KiB);
        CHECK_EQ(served.write(0, a).error, 0);
        CHECK_EQ(shape(read_log(dir.path("log"))), std::string());
        CHECK_EQ(served.write(64 * KiB, b, us::REQUEST_FUA).error, 0);
        CHECK_EQ(shape(read_log(dir.path("log"))), std::string("w128+16!"));
        CHECK_EQ(served.io(US_OP_DISCARD, MiB, MiB).error, 0);
        CHECK_EQ(served.flush().error, 0);
        CHECK_EQ(shape(read_log(dir.path("log"))), std::string("w128+16! w0+8 d2048+2048 f"));
        CHECK(read_log(dir.path("log"))[1].data == a);
        CHECK(read_log(dir.path("log"))[0].data == b);
        CHECK(served.read(64 * KiB, 8 * KiB) == b);
        CHECK_EQ(served.io(US_OP_WRITE_ZEROES, 0, 2 * KiB).error, 0);
        CHECK_EQ(counts(served)["heldBytes"].get<int>(), 0);
        CHECK_EQ(counts(served)["unflushed"].get<int>(), 1);
    }
    // What was not flushed is there after an orderly end, and no flush behind it.
    CHECK_EQ(shape(read_log(dir.path("log"))), std::string("w128+16! w0+8 d2048+2048 f w0+4"));
    check_replay(dir);
}

TEST(logwrites_goes_on_with_the_log_that_is_there) {
    TempDir dir;
    auto config = recorded(dir);
    for (uint64_t i = 0; i < 3; i++) {
        Served served(config.json());
        CHECK_EQ(served.write(i * MiB, pattern(i, 3 * MiB / 2)).error, 0);
        CHECK_EQ(served.flush().error, 0);
        CHECK_EQ(counts(served)["entries"].get<uint64_t>(), 2 * (i + 1));
    }
    CHECK_EQ(shape(read_log(dir.path("log"))), std::string("w0+3072 f w2048+3072 f w4096+3072 f"));
    check_replay(dir);
}

TEST(logwrites_marks_when_the_text_changes) {
    TempDir dir;
    auto config = recorded(dir, 16 * MiB, {{"mark", "begin"}});
    {
        Served served(config.json());
        us::Graph &graph = served.graph();
        CHECK_EQ(graph.set("record", {{"mark", "begin"}}), std::string());
        CHECK_EQ(served.write(0, pattern(1, 512)).error, 0);
        CHECK_EQ(graph.set("record", {{"mark", "middle"}, {"data", "full"}}), std::string());
        CHECK_EQ(graph.set("record", {{"mark", "middle"}, {"record", false}}), std::string());
        CHECK_EQ(served.write(4096, pattern(1, 512)).error, 0);
        CHECK_EQ(graph.set("record", {{"record", true}}), std::string());
        CHECK(graph.set("record", {{"mark", "ublk-stack:mine"}}) != "");
        CHECK(graph.set("record", {{"mark", std::string(480, 'x')}}) != "");
        CHECK_EQ(graph.set("record", {{"mark", std::string(479, 'x')}}), std::string());
    }
    Served again(config.json());
    CHECK_EQ(shape(read_log(dir.path("log"))), "'begin' 'middle' w0+1 'ublk-stack:off' 'ublk-stack:on' '" +
                                                   std::string(479, 'x') + "' 'begin'");
}

TEST(logwrites_can_keep_hashes_in_place_of_data) {
    TempDir dir;
    auto config = recorded(dir, 16 * MiB, {{"data", "hash"}});
    Bytes data = pattern(1, 64 * KiB);
    {
        Served served(config.json());
        CHECK_EQ(served.write(8 * KiB, data, us::REQUEST_FUA).error, 0);
        CHECK_EQ(served.write(0, Bytes(data.begin(), data.begin() + 512)).error, 0);
        CHECK_EQ(served.io(US_OP_WRITE_ZEROES, 0, MiB).error, 0);
        CHECK_EQ(served.io(US_OP_DISCARD, 0, MiB).error, 0);
        CHECK_EQ(served.flush().error, 0);
        CHECK_EQ(counts(served)["writes"].get<int>(), 3);
        CHECK_EQ(counts(served)["marks"].get<int>(), 0);
    }
    auto log = read_log(dir.path("log"));
    CHECK_EQ(log.size(), size_t{5});
    CHECK_EQ(log[0].text, "ublk-stack:write sector=16 sectors=128 fua sha256=" + us::sha256(data));
    CHECK_EQ(log[1].text, "ublk-stack:write sector=0 sectors=1 sha256=" + us::sha256({data.data(), 512}));
    CHECK_EQ(log[2].text, std::string("ublk-stack:write sector=0 sectors=2048 zeroes"));
    CHECK_EQ(shape({log[3], log[4]}), std::string("d0+2048 f"));
}

TEST(logwrites_ends_when_the_log_is_full_and_says_so) {
    TempDir dir;
    auto config = recorded(dir, 64 * KiB);
    for (int round = 0; round < 2; round++) {
        Served served(config.json());
        for (uint64_t i = 0; i < 32; i++) {
            CHECK_EQ(served.write(i * 4 * KiB, pattern(i, 4 * KiB)).error, 0);
            CHECK_EQ(served.flush().error, 0);
        }
        CHECK(counts(served)["recording"] == false);
        CHECK(counts(served)["unrecorded"].get<int>() > 0);
        CHECK(served.read(31 * 4 * KiB, 4 * KiB) == pattern(31, 4 * KiB));
        CHECK(served.graph().set("record", {{"mark", "late"}}) != "");
    }
    // 512 of super, then 5120 for each write with its flush: the thirteenth has no room.
    auto log = read_log(dir.path("log"));
    CHECK_EQ(log.back().text, std::string("ublk-stack:ended"));
    CHECK_EQ(log.size(), size_t{2 * 12 + 1});
    for (size_t i = 0; i + 2 < log.size(); i += 2)
        CHECK(log[i].data == pattern(i / 2, 4 * KiB));
}

TEST(logwrites_records_nothing_of_what_failed_and_no_flush_that_did) {
    TempDir dir;
    auto config = recorded(dir);
    FaultyLeaf *disk = nullptr;
    {
        Served served(config.json(), 1, 32,
                      [&](us::Graph &graph) { disk = &FaultyLeaf::install(graph, "disk"); });
        CHECK_EQ(served.write(0, pattern(1, 512)).error, 0);
        disk->fail_all(US_OP_WRITE, -EIO);
        CHECK_EQ(served.write(4096, pattern(2, 512)).error, -EIO);
        disk->fail_all(US_OP_FLUSH, -EIO);
        CHECK_EQ(served.flush().error, -EIO);
        CHECK_EQ(served.write(8192, pattern(3, 512)).error, 0);
        disk->fail({});
        disk->forget_sync_error();
        CHECK_EQ(served.flush().error, 0);
    }
    CHECK_EQ(shape(read_log(dir.path("log"))), std::string("w0+1 w16+1 f"));
}

TEST(logwrites_lets_requests_pass_when_the_log_fails) {
    TempDir dir;
    auto config = recorded(dir);
    FaultyLeaf *log = nullptr;
    Served served(config.json(), 1, 32, [&](us::Graph &graph) { log = &FaultyLeaf::install(graph, "log"); });
    CHECK_EQ(served.write(0, pattern(1, 512), us::REQUEST_FUA).error, 0);
    log->fail_all(US_OP_WRITE, -EIO);
    CHECK_EQ(served.write(4096, pattern(2, 512)).error, 0);
    CHECK_EQ(served.flush().error, 0);
    CHECK(counts(served)["recording"] == false);
    CHECK_EQ(counts(served)["unrecorded"].get<int>(), 2);
    CHECK_EQ(shape(read_log(dir.path("log"))), std::string("w0+1!"));
}

TEST(logwrites_refuses_a_log_that_is_something_else) {
    TempDir dir;
    auto config = recorded(dir);
    auto refused = [&] {
        try {
            Served served(config.json());
        } catch (const us::ConfigError &error) {
            return error.code;
        }
        return std::string();
    };
    std::ofstream(dir.path("log"), std::ios::in | std::ios::out | std::ios::binary) << "a letter";
    CHECK_EQ(refused(), std::string("log-unusable"));
    Super super{MAGIC, 1, 0, 4096};
    auto write_super = [&] {
        std::ofstream file(dir.path("log"), std::ios::in | std::ios::out | std::ios::binary);
        file.write(reinterpret_cast<char *>(&super), sizeof super);
    };
    write_super();
    CHECK_EQ(refused(), std::string("log-unusable"));
    super = {MAGIC, 2, 0, 512};
    write_super();
    CHECK_EQ(refused(), std::string("log-unusable"));
}

TEST(logwrites_goes_on_behind_the_last_whole_entry_of_a_log_cut_short) {
    TempDir dir;
    auto config = recorded(dir);
    {
        Served served(config.json());
        for (uint64_t i = 0; i < 4; i++)
            CHECK_EQ(served.write(0, pattern(i, 4 * KiB), us::REQUEST_FUA).error, 0);
    }
    // The third entry makes no sense.
    Entry broken{0, UINT64_MAX / 512, 0, 0};
    {
        std::ofstream file(dir.path("log"), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(512 + 2 * (512 + 4096));
        file.write(reinterpret_cast<char *>(&broken), sizeof broken);
    }
    {
        Served served(config.json());
        CHECK_EQ(served.write(0, pattern(9, 512), us::REQUEST_FUA).error, 0);
    }
    auto log = read_log(dir.path("log"));
    CHECK_EQ(shape(log), std::string("w0+8! w0+8! w0+1!"));
    CHECK(log[2].data == pattern(9, 512));
}

// A child serves and is killed with writes unflushed; the next server of the same boot has them all.
TEST(logwrites_forgets_nothing_with_a_killed_server) {
    TempDir dir;
    auto config = recorded(dir);
    for (uint64_t round = 0; round < 3; round++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            Served served(config.json());
            for (uint64_t i = 0; i < 5; i++)
                CHECK_EQ(served.write((round * 8 + i) * 4 * KiB, pattern(round * 8 + i, 4 * KiB)).error, 0);
            if (round == 1) CHECK_EQ(served.flush().error, 0);
            kill(getpid(), SIGKILL);
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status));
    }
    {
        Served served(config.json());
        CHECK_EQ(counts(served)["unflushed"].get<int>(), 5);
        CHECK_EQ(served.flush().error, 0);
    }
    CHECK_EQ(shape(read_log(dir.path("log"))),
             std::string("w0+8 w8+8 w16+8 w24+8 w32+8 w64+8 w72+8 w80+8 w88+8 w96+8 f "
                         "w128+8 w136+8 w144+8 w152+8 w160+8 f"));
    check_replay(dir);
}

TEST(logwrites_takes_a_log_of_another_boot_for_what_it_is) {
    TempDir dir;
    auto config = recorded(dir);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        Served served(config.json());
        CHECK_EQ(served.write(0, pattern(1, 512)).error, 0);
        kill(getpid(), SIGKILL);
    }
    CHECK(waitpid(child, nullptr, 0) == child);
    config.json()["runtime"]["bootId"] = "boot-2";
    { Served served(config.json()); }
    CHECK_EQ(shape(read_log(dir.path("log"))), std::string());
}

TEST(logwrites_from_many_queues_holds_every_write_once) {
    TempDir dir;
    auto config = recorded(dir, 64 * MiB);
    {
        Served served(config.json(), 4, 8);
        std::vector<std::thread> clients;
        for (uint32_t q = 0; q < 4; q++)
            clients.emplace_back([&, q] {
                for (uint64_t i = 0; i < 100; i++) {
                    Bytes data = pattern(q * 1000 + i, 4 * KiB);
                    uint64_t at = (q * 64 + i % 64) * 4 * KiB;
                    uint32_t flags = i % 7 == 0 ? uint32_t{us::REQUEST_FUA} : 0;
                    CHECK_EQ(served.io(US_OP_WRITE, at, data.size(), data.data(), flags, q).error, 0);
                    if (i % 10 == 9) CHECK_EQ(served.io(US_OP_FLUSH, 0, 0, nullptr, 0, q).error, 0);
                }
            });
        for (std::thread &client : clients)
            client.join();
        CHECK_EQ(counts(served)["flushes"].get<int>(), 40);
    }
    size_t writes = 0;
    for (const Logged &one : read_log(dir.path("log")))
        writes += !(one.entry.flags & FLUSH);
    CHECK_EQ(writes, size_t{400});
}
