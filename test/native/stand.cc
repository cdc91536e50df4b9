#include "stand.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <latch>
#include <numeric>

#include "check.h"

using nlohmann::json;

TempDir::TempDir() {
    const char *base = getenv("TMPDIR");
    std::string name = std::string(base ? base : "/tmp") + "/us-native-XXXXXX";
    CHECK(mkdtemp(name.data()) != nullptr);
    dir_ = name;
}

TempDir::~TempDir() {
    std::filesystem::remove_all(dir_);
}

std::string TempDir::file(const std::string &name, uint64_t size) const {
    std::string full = path(name);
    int fd = open(full.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(ftruncate(fd, static_cast<off_t>(size)) == 0);
    close(fd);
    return full;
}

ConfigBuilder::ConfigBuilder(const TempDir &dir, std::string frontend) {
    std::filesystem::create_directories(dir.path("run"));
    std::filesystem::create_directories(dir.path("state"));
    json_ = {{"table",
              {{"name", "test"},
               {"frontend", frontend},
               {"layers", json::array()},
               {"exports", json::array({{{"name", "test"}, {"root", 0}, {"readOnly", false}}})}}},
             {"runtime",
              {{"stack", "stack"},
               {"runDir", dir.path("run")},
               {"stateDir", dir.path("state")},
               {"bootId", "boot-1"},
               {"paths", json::object()},
               {"blank", json::array()},
               {"lockWaitMs", 5000}}}};
}

uint32_t ConfigBuilder::add(const std::string &type, const std::string &name, uint64_t size,
                            std::vector<uint32_t> children, nlohmann::json params) {
    nlohmann::json &layers = json_["table"]["layers"];
    layers.push_back({{"name", name},
                      {"type", type},
                      {"sizeBytes", size},
                      {"readOnly", false},
                      {"children", children},
                      {"params", params},
                      {"geometry",
                       {{"logicalBlockBytes", 512},
                        {"physicalBlockBytes", 4096},
                        {"ioMinBytes", 4096},
                        {"ioOptBytes", 0},
                        {"discardGranularityBytes", 4096},
                        {"maxDiscardBytes", 1 << 30},
                        {"maxWriteZeroesBytes", 1 << 30},
                        {"volatileCache", true},
                        {"fua", true},
                        {"rotational", false}}}});
    return static_cast<uint32_t>(layers.size() - 1);
}

void ConfigBuilder::path(const std::string &layer, const std::string &path) {
    json_["runtime"]["paths"][layer] = path;
}

Served::Served(const json &config, uint32_t nr_queues, uint32_t depth,
               const std::function<void(us::Graph &)> &prepare)
    : graph_(std::make_unique<us::Graph>(config)), queues_(nr_queues) {
    if (prepare) prepare(*graph_);
    graph_->open(nr_queues, depth);
    for (uint32_t i = 0; i < nr_queues; i++) {
        std::vector<uint32_t> tags(depth);
        std::iota(tags.begin(), tags.end(), 0);
        free_tags_.push_back(std::move(tags));
        std::promise<us::Queue *> ready;
        auto future = ready.get_future();
        threads_.emplace_back([this, i, depth, ready = std::move(ready)]() mutable {
            us::QueueOptions options;
            options.index = i;
            options.depth = depth;
            us::Queue queue(*graph_, options);
            if (i == 0) graph_->make_ready(queue);
            ready.set_value(&queue);
            queue.run();
        });
        queues_[i] = future.get();
    }
    queues_[0]->post([this] { graph_->start_background(*queues_[0]); });
}

Served::~Served() {
    for (us::Queue *queue : queues_)
        queue->stop();
    for (std::thread &thread : threads_)
        thread.join();
    graph_->close();
}

namespace {

struct Call : us::Request {
    std::promise<Result> promise;
};

} // namespace

Result Served::io(us_op op, uint64_t offset, uint64_t length, std::byte *buffer, uint32_t flags,
                  uint32_t queue, uint32_t root) {
    Call call;
    call.tag = take_tag(queue);
    call.op = op;
    call.flags = flags;
    call.root = root;
    call.offset = offset;
    call.length = length;
    call.buffer.data = buffer;
    call.done = [](us::Request &request) {
        static_cast<Call &>(request).promise.set_value({request.error, request.good_bytes});
    };
    auto future = call.promise.get_future();
    queues_[queue]->post([&] { queues_[queue]->submit(call); });
    Result result = future.get();
    give_tag(queue, call.tag);
    return result;
}

uint32_t Served::take_tag(uint32_t queue) {
    std::unique_lock lock(tags_mutex_);
    tags_given_.wait(lock, [&] { return !free_tags_[queue].empty(); });
    uint32_t tag = free_tags_[queue].back();
    free_tags_[queue].pop_back();
    return tag;
}

void Served::give_tag(uint32_t queue, uint32_t tag) {
    {
        std::lock_guard lock(tags_mutex_);
        free_tags_[queue].push_back(tag);
    }
    tags_given_.notify_one();
}

void Served::wait_for(const std::function<bool(const json &)> &condition) {
    while (!condition(mirror()))
        std::this_thread::yield();
}

Result Served::write(uint64_t offset, const Bytes &data, uint32_t flags) {
    Bytes copy = data;
    return io(US_OP_WRITE, offset, copy.size(), copy.data(), flags);
}

Bytes Served::read(uint64_t offset, uint64_t length) {
    Bytes out(length, std::byte{0xEE});
    Result result = io(US_OP_READ, offset, length, out.data());
    CHECK_EQ(result.error, 0);
    return out;
}

Bytes pattern(uint64_t seed, uint64_t length) {
    Bytes out(length);
    uint64_t x = seed * 0x9E3779B97F4A7C15ULL + 1;
    for (std::byte &byte : out) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        byte = static_cast<std::byte>(x >> 56);
    }
    return out;
}

Bytes file_bytes(const std::string &path, uint64_t offset, uint64_t length) {
    Bytes out(length);
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(pread(fd, out.data(), length, static_cast<off_t>(offset)) == static_cast<ssize_t>(length));
    close(fd);
    return out;
}
