// The fast path over every layer type: data, placement, errors with their ranges.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "check.h"
#include "faulty.h"
#include "stand.h"

namespace {

constexpr uint64_t MiB = 1 << 20, KiB = 1 << 10;

// stripe of two files, chunk 64 KiB.
ConfigBuilder striped(const TempDir &dir, uint64_t member, const std::string &frontend = "nbd") {
    ConfigBuilder config(dir, frontend);
    config.add("stripe", "wide", 2 * member, {1, 2}, {{"chunkBytes", 64 * KiB}});
    config.add("file", "d0", member);
    config.add("file", "d1", member);
    config.path("d0", dir.file("d0", member));
    config.path("d1", dir.file("d1", member));
    return config;
}

} // namespace

TEST(stripe_deals_chunks_out_in_turn) {
    TempDir dir;
    auto config = striped(dir, 4 * MiB);
    Bytes data = pattern(1, 1 * MiB);
    {
        Served served(config.json());
        CHECK_EQ(served.write(32 * KiB, data).error, 0);
        CHECK(served.read(32 * KiB, MiB) == data);
        CHECK_EQ(served.flush().error, 0);
    }
    // Chunk 1 lies at the beginning of d1, and begins 32 KiB into the data.
    CHECK(file_bytes(dir.path("d1"), 0, 64 * KiB) == Bytes(data.begin() + 32 * KiB, data.begin() + 96 * KiB));
    CHECK(file_bytes(dir.path("d0"), 32 * KiB, 32 * KiB) == Bytes(data.begin(), data.begin() + 32 * KiB));
}

TEST(direct_io_gives_the_same_bytes) {
    TempDir dir;
    auto config = striped(dir, 4 * MiB, "ublk");
    Served served(config.json());
    void *raw = nullptr;
    CHECK(posix_memalign(&raw, 4096, MiB) == 0);
    auto *buffer = static_cast<std::byte *>(raw);
    Bytes data = pattern(2, MiB);
    memcpy(buffer, data.data(), MiB);
    CHECK_EQ(served.io(US_OP_WRITE, 0, MiB, buffer).error, 0);
    memset(buffer, 0, MiB);
    CHECK_EQ(served.io(US_OP_READ, 0, MiB, buffer).error, 0);
    CHECK(memcmp(buffer, data.data(), MiB) == 0);
    free(raw);
}

TEST(linear_over_stripe_over_linear_and_memory_and_null) {
    TempDir dir;
    ConfigBuilder config(dir);
    config.add("linear", "top", 5 * MiB, {1, 4});
    config.add("stripe", "wide", 4 * MiB, {2, 3}, {{"chunkBytes", 4 * KiB}});
    config.add("linear", "a", 2 * MiB, {5, 6});
    config.add("file", "b", 2 * MiB);
    config.add("null", "n", 1 * MiB);
    config.add("file", "a0", 1 * MiB);
    config.add("file", "a1", 1 * MiB);
    for (const char *name : {"b", "a0", "a1"})
        config.path(name, dir.file(name, 2 * MiB));
    Served served(config.json());
    Bytes data = pattern(3, 4 * MiB);
    CHECK_EQ(served.write(0, data, us::REQUEST_FUA).error, 0);
    CHECK(served.read(0, 4 * MiB) == data);
    CHECK(served.read(4 * MiB, MiB) == Bytes(MiB, std::byte{0}));
}

TEST(discarded_and_zeroed_ranges_read_as_zeros) {
    TempDir dir;
    auto config = striped(dir, 4 * MiB);
    Served served(config.json());
    for (us_op op : {US_OP_DISCARD, US_OP_WRITE_ZEROES}) {
        for (uint32_t flags : {0u, uint32_t{us::REQUEST_NO_UNMAP}, uint32_t{us::REQUEST_FUA}}) {
            CHECK_EQ(served.write(0, pattern(4, MiB)).error, 0);
            CHECK_EQ(served.io(op, 60 * KiB, 200 * KiB, nullptr, flags).error, 0);
            CHECK(served.read(60 * KiB, 200 * KiB) == Bytes(200 * KiB, std::byte{0}));
            CHECK(served.read(0, 60 * KiB) == Bytes(pattern(4, 60 * KiB)));
        }
    }
}

TEST(a_truncated_file_fails_the_bytes_behind_its_end_and_no_others) {
    for (const char *frontend : {"nbd", "ublk"}) {
        TempDir dir;
        auto config = striped(dir, 4 * MiB, frontend);
        Served served(config.json());
        void *raw = nullptr;
        CHECK(posix_memalign(&raw, 4096, MiB) == 0);
        auto *buffer = static_cast<std::byte *>(raw);
        CHECK(truncate(dir.path("d1").c_str(), 64 * KiB) == 0);
        Result result = served.io(US_OP_READ, 0, MiB, buffer);
        CHECK_EQ(result.error, -EIO);
        CHECK_EQ(result.good, 192 * KiB); // d1's second chunk is chunk 3
        CHECK_EQ(served.io(US_OP_READ, 0, 192 * KiB, buffer).error, 0);
        CHECK(served.graph().status()["layers"][2]["errors"]["EIO"] == 7);
        free(raw);
    }
}

TEST(many_small_pieces_wait_for_one_another) {
    TempDir dir;
    ConfigBuilder config(dir, "ublk");
    config.add("stripe", "wide", 32 * MiB, {1, 2, 3, 4}, {{"chunkBytes", 4 * KiB}});
    for (const char *name : {"a", "b", "c", "d"}) {
        config.add("file", name, 8 * MiB);
        config.path(name, dir.file(name, 8 * MiB));
    }
    Served served(config.json());
    void *raw = nullptr;
    CHECK(posix_memalign(&raw, 4096, 32 * MiB) == 0);
    auto *buffer = static_cast<std::byte *>(raw);
    Bytes data = pattern(5, 32 * MiB);
    memcpy(buffer, data.data(), data.size());
    CHECK_EQ(served.io(US_OP_WRITE, 0, 32 * MiB, buffer).error, 0);
    memset(buffer, 0, data.size());
    CHECK_EQ(served.io(US_OP_READ, 0, 32 * MiB, buffer).error, 0);
    CHECK(memcmp(buffer, data.data(), data.size()) == 0);
    free(raw);
}

TEST(bad_ranges_are_refused) {
    TempDir dir;
    auto config = striped(dir, 4 * MiB);
    Served served(config.json());
    Bytes buffer(4096);
    CHECK_EQ(served.io(US_OP_READ, 8 * MiB, 4096, buffer.data()).error, -EINVAL);
    CHECK_EQ(served.io(US_OP_READ, 100, 512, buffer.data()).error, -EINVAL);
    CHECK_EQ(served.io(US_OP_READ, UINT64_MAX - 511, 512, buffer.data()).error, -EINVAL);
}

TEST(a_second_server_waits_and_then_gives_up) {
    TempDir dir;
    auto config = striped(dir, 4 * MiB);
    Served served(config.json());
    config.json()["runtime"]["lockWaitMs"] = 20;
    us::Graph second(config.json());
    std::string code;
    try {
        second.open(1, 1);
    } catch (const us::ConfigError &error) {
        code = error.code;
    }
    CHECK_EQ(code, "path-in-use");
}

TEST(extents_tell_holes_from_data) {
    TempDir dir;
    auto config = striped(dir, 4 * MiB);
    Served served(config.json());
    CHECK_EQ(served.write(128 * KiB, pattern(6, 64 * KiB)).error, 0);
    auto extents = served.graph().extents(0, 0, 8 * MiB, 100);
    CHECK_EQ(extents.size(), 3u);
    CHECK_EQ(extents[0].length, 128 * KiB);
    CHECK_EQ(extents[0].flags, 3u);
    CHECK_EQ(extents[1].length, 64 * KiB);
    CHECK_EQ(extents[1].flags, 0u);
    CHECK_EQ(extents[2].length, 8 * MiB - 192 * KiB);
    CHECK_EQ(served.graph().extents(0, 0, 8 * MiB, 1).size(), 1u);
}

TEST(zeros_are_written_where_the_media_cannot_make_them_unless_only_fast_will_do) {
    TempDir dir;
    auto config = striped(dir, 4 * MiB);
    Served served(config.json(), 1, 32, [](us::Graph &graph) {
        for (const char *name : {"d0", "d1"})
            FaultyLeaf::install(graph, name).fail([](const us::LeafIo &io) {
                return io.op == US_OP_DISCARD || io.op == US_OP_WRITE_ZEROES ? -EOPNOTSUPP : 0;
            });
    });
    for (us_op op : {US_OP_DISCARD, US_OP_WRITE_ZEROES}) {
        CHECK_EQ(served.write(0, pattern(4, 6 * MiB)).error, 0);
        CHECK_EQ(served.io(op, 0, 6 * MiB, nullptr, us::REQUEST_FAST_ONLY).error, -EOPNOTSUPP);
        CHECK(served.read(0, 6 * MiB) == pattern(4, 6 * MiB));
        CHECK_EQ(served.io(op, 512, 5 * MiB).error, 0);
        CHECK(served.read(512, 5 * MiB) == Bytes(5 * MiB));
        CHECK(served.read(0, 512) == pattern(4, 512));
        CHECK(served.graph().status()["layers"][1]["errors"].empty());
    }
}

TEST(short_transfers_go_on_and_interrupted_ones_again) {
    TempDir dir;
    auto config = striped(dir, 4 * MiB);
    std::atomic<int> interrupted{0};
    Served served(config.json(), 1, 32, [&](us::Graph &graph) {
        FaultyLeaf &leaf = FaultyLeaf::install(graph, "d0");
        leaf.shorten(1536);
        leaf.fail([&](const us::LeafIo &) { return ++interrupted % 3 == 0 ? -EINTR : 0; });
    });
    CHECK_EQ(served.write(0, pattern(5, MiB)).error, 0);
    CHECK(served.read(0, MiB) == pattern(5, MiB));
    CHECK(interrupted > 600);
}

TEST(an_error_names_the_first_byte_that_failed) {
    TempDir dir;
    auto config = striped(dir, 4 * MiB);
    Served served(config.json(), 1, 32, [](us::Graph &graph) {
        FaultyLeaf::install(graph, "d1").fail([](const us::LeafIo &io) {
            return io.offset >= 128 * KiB ? -ENOSPC : 0;
        });
    });
    Result result = served.write(0, pattern(6, MiB));
    CHECK_EQ(result.error, -ENOSPC);
    CHECK_EQ(result.good, 320 * KiB); // d1's third chunk is chunk 5
}

TEST(a_file_size_limit_is_an_error_for_the_bytes_behind_it) {
    TempDir dir;
    auto config = striped(dir, 4 * MiB);
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit{MiB, MiB};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    Served served(config.json());
    CHECK_EQ(served.write(0, pattern(6, 2 * MiB)).error, 0);
    Result result = served.write(2 * MiB - 64 * KiB, pattern(7, 128 * KiB));
    CHECK_EQ(result.error, -EFBIG);
    CHECK_EQ(result.good, 64 * KiB);
    CHECK(served.read(0, MiB) == pattern(6, MiB));
}

TEST(a_failed_flush_of_a_buffered_file_is_not_forgotten) {
    TempDir dir;
    auto config = striped(dir, 4 * MiB);
    FaultyLeaf *leaf = nullptr;
    Served served(config.json(), 1, 32, [&](us::Graph &graph) { leaf = &FaultyLeaf::install(graph, "d0"); });
    CHECK_EQ(served.write(0, pattern(1, MiB)).error, 0);
    leaf->fail_all(US_OP_FLUSH, -EIO);
    CHECK_EQ(served.flush().error, -EIO);
    leaf->fail({}); // the kernel would say that all is well now: the pages are gone
    CHECK_EQ(served.flush().error, -EIO);
    CHECK_EQ(served.io(US_OP_DISCARD, 0, 4096, nullptr, us::REQUEST_FUA).error, -EIO);
}

TEST(leaves_refuse_what_they_cannot_be) {
    struct Case {
        const char *path, *code;
    };
    TempDir dir;
    dir.file("small", MiB);
    const Case cases[] = {{"missing", "path-missing"},
                          {"run", "not-a-file"},
                          {"/dev/full", "not-a-file"},
                          {"small", "file-too-small"}};
    for (const Case &c : cases) {
        ConfigBuilder config(dir);
        config.add("file", "leaf", 4 * MiB);
        config.path("leaf", *c.path == '/' ? c.path : dir.path(c.path));
        us::Graph graph(config.json());
        std::string code;
        try {
            graph.open(1, 1);
        } catch (const us::ConfigError &error) {
            code = error.code;
            CHECK_EQ(error.layer, "leaf");
        }
        CHECK_EQ(code, c.code);
    }
}

TEST(a_read_only_leaf_is_never_written) {
    TempDir dir;
    ConfigBuilder config(dir);
    uint32_t leaf = config.add("file", "leaf", 4 * MiB);
    config.path("leaf", dir.file("leaf", 4 * MiB));
    config.layer(leaf)["readOnly"] = true;
    Served served(config.json());
    CHECK_EQ(served.write(0, pattern(1, 4096)).error, -EROFS);
    CHECK_EQ(served.io(US_OP_DISCARD, 0, 4096).error, -EROFS);
    CHECK_EQ(served.flush().error, 0);
    CHECK(served.read(0, 4096) == Bytes(4096));
    Served reader(config.json()); // readers share
    CHECK(reader.read(0, 4096) == Bytes(4096));
}
