// Whether a server believes the live file that it finds: only one that is whole, of this layout and of this
// boot. What it does not know it takes for nothing, and with it whatever was in flight.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "check.h"
#include "engine/live.h"
#include "stand.h"

namespace {

using us::LiveFile, us::Predecessor;

constexpr uint64_t HASH = 0x1234;
constexpr uint32_t QUEUES = 2, DEPTH = 16;

// What a server leaves behind; busy: killed with a write in flight.
void leave(const TempDir &dir, bool busy = false, const std::string &boot = "boot-1") {
    LiveFile file(dir.path(), boot, HASH, QUEUES, DEPTH, 0);
    if (busy) file.inflight().publish(file.request_slot(1, 3), 0, US_OP_WRITE, 4096, 4096);
    file.commit();
}

Predecessor found(const TempDir &dir, uint64_t hash = HASH, uint32_t queues = QUEUES) {
    return LiveFile(dir.path(), "boot-1", hash, queues, DEPTH, 0).predecessor();
}

std::string whole(const TempDir &dir) {
    std::ifstream in(dir.path("live"), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

void replace(const TempDir &dir, const std::string &content) {
    std::ofstream(dir.path("live"), std::ios::binary | std::ios::trunc) << content;
}

} // namespace

TEST(live_file_of_the_same_table_is_gone_on_with) {
    TempDir dir;
    CHECK(found(dir) == Predecessor::unknown);
    CHECK(found(dir) == Predecessor::unknown); // the one before was never committed
    leave(dir, true);
    LiveFile next(dir.path(), "boot-1", HASH, QUEUES, DEPTH, 0);
    CHECK(next.predecessor() == Predecessor::same);
    CHECK_EQ(next.inflight().busy().size(), 1u);
    CHECK_EQ(next.inflight().slot(next.request_slot(1, 3)).offset, 4096u);
}

TEST(live_file_of_another_table_tells_only_that_nothing_was_in_flight) {
    for (bool busy : {false, true}) {
        TempDir dir;
        leave(dir, busy);
        Predecessor expected = busy ? Predecessor::unknown : Predecessor::idle;
        CHECK(found(dir, HASH + 1) == expected);
        CHECK(found(dir, HASH, QUEUES + 1) == expected);
    }
}

TEST(live_file_of_another_layout_or_boot_or_cut_short_is_unknown) {
    TempDir dir;
    leave(dir);
    std::string good = whole(dir);
    auto unknown = [&](const std::string &content) {
        replace(dir, content);
        CHECK(found(dir) == Predecessor::unknown);
    };
    // Magic, version, slots: words 0, 2 and 3 of the header, each by one more or less.
    // A wrong number of slots fills as many pages.
    for (size_t word : {0, 2, 3})
        for (int step : {-1, 1}) {
            std::string other = good;
            other[4 * word] = static_cast<char>(other[4 * word] + step);
            unknown(other);
        }
    for (size_t bytes : {size_t{0}, size_t{1}, size_t{64}, good.size() / 2, good.size() - 1})
        unknown(good.substr(0, bytes));
    unknown(good + std::string(4096, '\0'));
    unknown(std::string(good.size(), '\0'));
    unknown(std::string(good.size(), '\xff'));

    leave(dir, false, "boot-0");
    CHECK(found(dir) == Predecessor::unknown);

    // And none of it stays in the way of the next one.
    replace(dir, "garbage");
    leave(dir);
    CHECK(found(dir) == Predecessor::same);
}

TEST(mirror_after_a_server_of_another_layout_is_copied_from_its_first_member) {
    TempDir dir;
    ConfigBuilder config(dir);
    constexpr uint64_t SIZE = 1 << 20;
    config.add("mirror", "safe", SIZE, {1, 2});
    for (const char *name : {"a", "b"}) {
        config.add("file", name, SIZE);
        config.path(name, dir.file(name, SIZE));
        config.json()["runtime"]["blank"].push_back(name);
    }
    Bytes data(SIZE, std::byte{7});
    pid_t child = fork();
    if (child == 0) {
        Served served(config.json());
        CHECK_EQ(served.write(0, data).error, 0);
        raise(SIGKILL);
    }
    CHECK(waitpid(child, nullptr, 0) == child);
    // The predecessor was writing, and where it was the next one cannot read.
    std::fstream live(dir.path("run/live"), std::ios::in | std::ios::out | std::ios::binary);
    live.seekp(8).put(1);
    live.close();
    int fd = open(dir.path("b").c_str(), O_WRONLY);
    Bytes other(4096, std::byte{9});
    CHECK(pwrite(fd, other.data(), other.size(), 0) == 4096);
    close(fd);

    Served served(config.json());
    CHECK(served.read(0, SIZE) == data);
    served.wait_for([](const nlohmann::json &mirror) { return mirror["members"][1]["state"] == "in-sync"; });
    std::ifstream a(dir.path("a")), b(dir.path("b"));
    CHECK(std::string(std::istreambuf_iterator<char>(a), {}) ==
          std::string(std::istreambuf_iterator<char>(b), {}));
}
