// Layers that see bytes, above buffers that are registered with the ring: what they look at is brought to
// them and back, and what they do not look at stays where it is.
#include <algorithm>
#include <future>

#include "check.h"
#include "engine/queue_impl.h"
#include "stand.h"

namespace {

using nlohmann::json;

constexpr uint64_t KiB = 1 << 10, MiB = 1 << 20;

struct alignas(4096) Memory {
    std::byte bytes[128 * KiB];
};

ConfigBuilder over_disk(const TempDir &dir, const std::string &type, const json &params) {
    ConfigBuilder config(dir);
    config.add(type, "top", 4 * MiB, {1}, params);
    config.add("file", "disk", 4 * MiB);
    config.path("disk", dir.file("disk", 4 * MiB));
    return config;
}

// Drives the executor itself: a client's request has its registered buffer from address 0 on, as the driver's
// have, and not one of this process.
class Fixed {
  public:
    explicit Fixed(Served &served) : queue_(served.queue(0)) {
        on_queue([&](std::promise<int> &done) {
            iovec vec{memory_->bytes, sizeof memory_->bytes};
            done.set_value(io_uring_register_buffers(&queue_.ring(), &vec, 1));
        });
    }
    std::byte *bytes() { return memory_->bytes; }

    us::IoResult io(us_op op, uint64_t offset, uint64_t length) {
        us::LeafIo io;
        io.op = op;
        io.offset = offset;
        io.length = length;
        io.buffer = us::IoBuffer{nullptr, 0, reinterpret_cast<uint64_t>(memory_->bytes)};
        us::IoResult result{};
        on_queue([&](std::promise<int> &done) { queue_.impl().executor.spawn(execute(io, result, done)); });
        return result;
    }

  private:
    template <typename Work> void on_queue(Work work) {
        std::promise<int> done;
        queue_.post([&] { work(done); });
        CHECK_EQ(done.get_future().get(), 0);
    }
    us::Task<void> execute(us::LeafIo io, us::IoResult &result, std::promise<int> &done) {
        us::Run nobody;
        result = co_await queue_.impl().executor.execute(0, io, nobody);
        done.set_value(0);
    }

    us::Queue &queue_;
    std::unique_ptr<Memory> memory_ = std::make_unique<Memory>();
};

uint64_t differences(const std::byte *a, const Bytes &b) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < b.size(); i++)
        count += a[i] != b[i];
    return count;
}

void fill(Fixed &fixed, const Bytes &data) {
    std::copy(data.begin(), data.end(), fixed.bytes());
}

} // namespace

TEST(registered_bytes_are_brought_to_who_looks_at_them) {
    TempDir dir;
    auto config = over_disk(dir, "flakey",
                            {{"corruptReads.startBytes", MiB},
                             {"corruptReads.lengthBytes", MiB},
                             {"corruptWrites.startBytes", 2 * MiB}});
    Served served(config.json());
    Fixed fixed(served);
    Bytes data = pattern(1, 128 * KiB);
    for (uint64_t offset : {uint64_t{0}, MiB, 2 * MiB}) {
        fill(fixed, data);
        us::IoResult written = fixed.io(US_OP_WRITE, offset, data.size());
        CHECK(written.error == 0 && written.good == data.size());
        CHECK_EQ(differences(fixed.bytes(), data), uint64_t{0}); // the client's are as they were
        Bytes there = file_bytes(dir.path("disk"), offset, data.size());
        CHECK_EQ(differences(there.data(), data), uint64_t{offset == 2 * MiB});
        fill(fixed, Bytes(data.size()));
        us::IoResult read = fixed.io(US_OP_READ, offset, data.size());
        CHECK(read.error == 0 && read.good == data.size());
        CHECK_EQ(differences(fixed.bytes(), there), uint64_t{offset == MiB});
    }
}

TEST(registered_bytes_are_seen_by_every_layer_that_keeps_them) {
    TempDir dir;
    ConfigBuilder config(dir);
    config.add("flakey", "top", 4 * MiB, {1}, {{"staleReads.startBytes", 0}});
    config.add("logwrites", "record", 4 * MiB, {2, 3});
    config.add("cow", "scratch", 4 * MiB, {4});
    config.add("file", "log", 4 * MiB);
    config.add("file", "disk", 4 * MiB);
    config.path("disk", dir.file("disk", 4 * MiB));
    config.path("log", dir.file("log", 4 * MiB));
    Served served(config.json());
    Fixed fixed(served);
    for (uint64_t round : {1, 2}) {
        fill(fixed, pattern(round, 64 * KiB));
        CHECK_EQ(fixed.io(US_OP_WRITE, 512, 64 * KiB).error, 0);
    }
    CHECK_EQ(served.flush().error, 0);
    CHECK_EQ(fixed.io(US_OP_READ, 512, 64 * KiB).error, 0);
    CHECK_EQ(differences(fixed.bytes(), pattern(1, 64 * KiB)), uint64_t{0}); // what was there before
    CHECK(served.graph().set("top", json::object()).empty());
    CHECK_EQ(fixed.io(US_OP_READ, 512, 64 * KiB).error, 0);
    CHECK_EQ(differences(fixed.bytes(), pattern(2, 64 * KiB)), uint64_t{0});
    // super, entry, data, entry, data
    CHECK(file_bytes(dir.path("log"), 1024, 64 * KiB) == pattern(1, 64 * KiB));
    CHECK(file_bytes(dir.path("log"), 1536 + 64 * KiB, 64 * KiB) == pattern(2, 64 * KiB));
    CHECK(file_bytes(dir.path("disk"), 0, 128 * KiB) == Bytes(128 * KiB));
}
