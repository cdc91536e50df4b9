// The ublk frontend on a real driver, where a process from outside cannot bring about what is to be seen.
// Without a driver the tests say so and pass: test/vm/cases/native-units.sh runs them where there is one.
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "check.h"
#include "engine/graph.h"
#include "frontends/ublk/device.h"
#include "frontends/ublk/params.h"

using nlohmann::json;
using namespace us;

namespace {

constexpr uint64_t SIZE = 16 << 20;
constexpr uint32_t DEPTH = 16;
constexpr size_t BLOCK = 4096;

bool driver_is_here() {
    if (access("/dev/ublk-control", R_OK | W_OK) == 0) return true;
    fprintf(stderr, "SKIPPED: no ublk driver on this host\n");
    return false;
}

json config_of(const std::filesystem::path &folder, const std::string &image) {
    json geometry = {{"logicalBlockBytes", 512}, {"physicalBlockBytes", 4096},   {"ioMinBytes", 4096},
                     {"ioOptBytes", 0},          {"discardGranularityBytes", 0}, {"maxDiscardBytes", 0},
                     {"maxWriteZeroesBytes", 0}, {"volatileCache", true},        {"fua", true},
                     {"rotational", false}};
    json layer = {{"name", "plain"},
                  {"type", "file"},
                  {"sizeBytes", SIZE},
                  {"readOnly", false},
                  {"children", json::array()},
                  {"geometry", geometry},
                  {"params", {{"path", image}, {"direct", "auto"}}}};
    json table = {{"name", "plain"},
                  {"frontend", "ublk"},
                  {"layers", {layer}},
                  {"exports", {{{"name", nullptr}, {"root", 0}, {"readOnly", false}}}},
                  {"ublk", {{"queues", 1}, {"depth", DEPTH}, {"id", -1}}},
                  {"nbd", nullptr},
                  {"access", {{"owner", nullptr}, {"group", nullptr}, {"mode", "0600"}}},
                  {"opens", json::array()}};
    json runtime = {{"stack", "unit"},
                    {"runDir", folder},
                    {"stateDir", folder},
                    {"logFile", ""},
                    {"paths", {{"plain", image}}},
                    {"tag", "5542000000000001"},
                    {"bootId", "boot"},
                    {"blank", json::array()}};
    return {{"table", table}, {"runtime", runtime}};
}

// Memory for direct IO, a multiple of BLOCK.
struct Aligned {
    explicit Aligned(size_t bytes) : bytes(bytes), data(static_cast<char *>(aligned_alloc(BLOCK, bytes))) {}
    ~Aligned() { free(data); }
    Aligned(const Aligned &) = delete;
    Aligned &operator=(const Aligned &) = delete;
    size_t bytes;
    char *data;
};

} // namespace

namespace {

// How many places for buffers of a ring could be taken, from the first on.
int take_places(int ring_fd) {
    static std::vector<char> dummy(BLOCK);
    std::vector<iovec> buffers(DEPTH, iovec{dummy.data(), dummy.size()});
    io_uring_rsrc_update2 update{};
    update.data = reinterpret_cast<uint64_t>(buffers.data());
    update.nr = DEPTH;
    return static_cast<int>(
        syscall(__NR_io_uring_register, ring_fd, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof update));
}

// Rings of this process on which all places could be taken.
int take_places_of_all_rings() {
    int rings = 0;
    for (const auto &entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        if (std::filesystem::read_symlink(entry.path(), gone) == "anon_inode:[io_uring]")
            rings += take_places(std::stoi(entry.path().filename())) == static_cast<int>(DEPTH);
    }
    return rings;
}

void write_and_read(uint32_t id, const std::string &image) {
    int fd = open(("/dev/ublkb" + std::to_string(id)).c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
    CHECK(fd >= 0);
    Aligned written(64 * BLOCK), read(64 * BLOCK);
    for (size_t i = 0; i < written.bytes; i++)
        written.data[i] = static_cast<char>(i * 131 + i / 4096);
    for (off_t at : {0ll, 5ll << 20, static_cast<long long>(SIZE - 64 * BLOCK)}) {
        CHECK_EQ(pwrite(fd, written.data, written.bytes, at), static_cast<ssize_t>(written.bytes));
        memset(read.data, 0, read.bytes);
        CHECK_EQ(pread(fd, read.data, read.bytes, at), static_cast<ssize_t>(read.bytes));
        CHECK(memcmp(written.data, read.data, read.bytes) == 0);
    }
    CHECK(fsync(fd) == 0);
    close(fd);

    // It is in the file, too.
    std::ifstream file(image, std::ios::binary);
    file.seekg(5 << 20);
    file.read(read.data, static_cast<std::streamsize>(read.bytes));
    CHECK(file && memcmp(written.data, read.data, read.bytes) == 0);
}

void serve_with_no_place_for_buffers(const std::string &engine) {
    // Not /tmp, whose files may be memory: those are copied.
    std::filesystem::path folder = std::filesystem::current_path() / "ublk-fallback";
    std::filesystem::create_directories(folder);
    std::string image = folder / "plain.img";
    std::ofstream(image).close();
    std::filesystem::resize_file(image, SIZE);

    uint32_t id;
    {
        json config = config_of(folder, image);
        config["table"]["ublk"]["engine"] = engine;
        Graph graph(config);
        Shelf shelf;
        ublk::Device device(graph, config, [](const std::string &) {});
        device.observe();
        graph.open(device.nr_queues(), device.depth());
        device.acquire(shelf);
        bool in_kernel = engine == "uring-bpf";
        // A loop's ring takes orders from outside until it is enabled, and the engine's from its thread
        // alone.
        if (in_kernel) CHECK_EQ(take_places_of_all_rings(), 1);
        device.start();
        id = device.id();
        if (std::string(device.copy_mode()) != "auto-zero-copy") {
            fprintf(stderr, "SKIPPED: this kernel copies\n");
        } else {
            CHECK_EQ(device.queue(0).loop() != nullptr, in_kernel);
            Queue &executor = device.queue(0).engine();
            if (!in_kernel) {
                std::promise<int> taken;
                executor.post([&] { taken.set_value(take_places(executor.ring().ring_fd)); });
                CHECK_EQ(taken.get_future().get(), static_cast<int>(DEPTH));
            }
            write_and_read(id, image);
            if (in_kernel) {
                const us_loop_counters &counters = device.queue(0).loop()->counters();
                CHECK(counters.passed[US_LOOP_BY_BUFFER] >= 6);
            } else {
                CHECK(device.queue(0).registered_by_command() >= 6);
            }
        }
        device.stop();
        device.join();
        graph.close();
    }
    ublk::Control().remove(id, ublk::Control::QUICK);
    std::filesystem::remove_all(folder);
}

} // namespace

TEST(ublk_zero_copy_goes_on_where_the_driver_cannot_register_a_buffer) {
    if (driver_is_here()) serve_with_no_place_for_buffers("native");
}

TEST(ublk_loop_passes_on_what_the_driver_cannot_register_a_buffer_for) {
    if (driver_is_here()) serve_with_no_place_for_buffers("uring-bpf");
}

TEST(ublk_a_device_that_never_went_live_is_removed) {
    if (!driver_is_here()) return;
    std::filesystem::path folder = std::filesystem::current_path() / "ublk-removed";
    std::filesystem::create_directories(folder);
    std::string image = folder / "plain.img";
    std::ofstream(image).close();
    std::filesystem::resize_file(image, SIZE);
    size_t before = ublk::list_devices().size();
    uint32_t id;
    {
        json config = config_of(folder, image);
        Graph graph(config);
        Shelf shelf;
        ublk::Device device(graph, config, [](const std::string &) {});
        device.observe();
        graph.open(device.nr_queues(), device.depth());
        device.acquire(shelf);
        id = device.id();
        CHECK_EQ(ublk::list_devices().size(), before + 1);
    }
    CHECK(!ublk::Control().info(id));
    CHECK_EQ(ublk::list_devices().size(), before);
    std::filesystem::remove_all(folder);
}

TEST(ublk_a_command_that_does_not_end_is_given_up) {
    if (!driver_is_here()) return;
    ublk::Control control;
    ublk::dev_info wanted{};
    wanted.nr_hw_queues = 1;
    wanted.queue_depth = DEPTH;
    wanted.dev_id = ublk::NO_DEVICE;
    wanted.max_io_buf_bytes = 64 << 10;
    ublk::dev_info added = control.add(wanted);
    Geometry geometry;
    control.set_params(added.dev_id,
                       ublk::device_params(geometry, {.size_bytes = SIZE, .max_io_bytes = 64 << 10}));
    int code = 0;
    std::string op;
    try {
        control.start(added.dev_id, getpid(), ublk::Control::Millis(50)); // nobody fetches
    } catch (const ublk::ControlError &error) {
        code = error.code().value();
        op = error.op;
    }
    CHECK_EQ(code, ETIME);
    CHECK_EQ(op, "START_DEV");
    // It was cancelled, not left behind: the device can be removed.
    control.remove(added.dev_id, ublk::Control::QUICK);
    CHECK(!control.info(added.dev_id));
}
