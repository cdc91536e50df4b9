// delay and throttle: that nothing goes before its time, in which order, and that nothing is left behind. How
// much later than its time something goes is the machine's affair.
#include <chrono>
#include <cmath>
#include <fstream>
#include <future>
#include <map>
#include <mutex>
#include <set>

#include "check.h"
#include "faulty.h"
#include "stand.h"
#include "targets/delay/durations.h"

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr uint64_t KiB = 1 << 10, MiB = 1 << 20, MS = 1'000'000;
constexpr const char *AN_HOUR = "fixed 3600000000000";

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

Clock::duration taken(const std::function<void()> &fn) {
    auto begin = Clock::now();
    fn();
    return Clock::now() - begin;
}

struct Call : us::Request {
    std::promise<int32_t> promise;
    std::future<int32_t> future = promise.get_future();
};

// Requests that arrive in this order.
class Burst {
  public:
    Burst(Served &served, const std::vector<std::pair<us_op, uint64_t>> &asked) : calls_(asked.size()) {
        for (size_t i = 0; i < asked.size(); i++) {
            calls_[i].tag = static_cast<uint32_t>(i);
            calls_[i].op = asked[i].first;
            calls_[i].offset = asked[i].second;
            calls_[i].length = asked[i].first == US_OP_FLUSH ? 0 : 512;
            calls_[i].buffer.data = data_;
            calls_[i].done = [](us::Request &request) {
                static_cast<Call &>(request).promise.set_value(request.error);
            };
        }
        us::Queue &queue = served.queue(0);
        queue.post([&] {
            for (Call &call : calls_)
                queue.submit(call);
        });
    }
    void wait() {
        for (Call &call : calls_)
            CHECK_EQ(call.future.get(), 0);
    }

  private:
    std::vector<Call> calls_;
    std::byte data_[512]{};
};

// Offsets in the order in which they reach the file.
struct Seen {
    std::mutex mutex;
    std::vector<uint64_t> offsets;

    size_t count() {
        std::lock_guard lock(mutex);
        return offsets.size();
    }

    std::function<void(us::Graph &)> watching() {
        return [this](us::Graph &graph) {
            FaultyLeaf::install(graph, "disk").fail([this](const us::LeafIo &io) {
                std::lock_guard lock(mutex);
                offsets.push_back(io.offset);
                return 0;
            });
        };
    }
};

void wait_in_flight(Served &served, uint64_t requests) {
    while (served.graph().status()["queues"][0]["inFlight"] != requests)
        std::this_thread::yield();
}

std::string refused(Served &served, const json &params) {
    return served.graph().set("top", params);
}

} // namespace

TEST(a_delay_strikes_its_operation_and_range_alone) {
    TempDir dir;
    auto config =
        over_file(dir, "delay", {{"read", "fixed 30000000"}, {"startBytes", MiB}, {"lengthBytes", 64 * KiB}});
    Served served(config.json());
    Bytes data = pattern(1, 128 * KiB);
    CHECK_EQ(served.write(MiB - 64 * KiB, data).error, 0);
    CHECK_EQ(served.flush().error, 0);
    CHECK(served.read(0, MiB) == served.read(0, MiB));
    CHECK_EQ(status_of(served)["counts"]["delayed"].get<int>(), 0);
    CHECK(taken([&] { CHECK(served.read(MiB - 64 * KiB, 128 * KiB) == data); }) >= milliseconds(30));
    CHECK_EQ(status_of(served)["counts"]["delayed"].get<int>(), 1);
    CHECK(status_of(served)["counts"]["waitedNs"] >= 30 * MS);
}

TEST(every_operation_has_a_delay_of_its_own) {
    for (auto [name, op] :
         {std::pair("read", US_OP_READ), std::pair("write", US_OP_WRITE), std::pair("flush", US_OP_FLUSH),
          std::pair("discard", US_OP_DISCARD), std::pair("writeZeroes", US_OP_WRITE_ZEROES)}) {
        TempDir dir;
        auto config = over_file(dir, "delay", {{name, "uniform 10000000 12000000"}});
        Served served(config.json());
        Bytes data(4096);
        for (us_op other : {US_OP_READ, US_OP_WRITE, US_OP_FLUSH, US_OP_DISCARD, US_OP_WRITE_ZEROES}) {
            uint64_t length = other == US_OP_FLUSH ? 0 : 4096;
            auto time = taken([&] { CHECK_EQ(served.io(other, 0, length, data.data()).error, 0); });
            if (other == op) CHECK(time >= milliseconds(10));
        }
        CHECK_EQ(status_of(served)["counts"]["delayed"].get<int>(), 1);
    }
}

TEST(a_slow_request_holds_up_the_others_if_their_order_is_kept) {
    for (bool keep : {false, true}) {
        TempDir dir;
        std::ofstream(dir.path("trace")) << "# of four writes\n1h\n\n 0ns # the second\r\n1h\n1us\n";
        json params = {{"write", "trace"}, {"keepOrder", keep}};
        auto config = over_file(dir, "delay", params);
        config.path("top", dir.path("trace"));
        Seen seen;
        Served served(config.json(), 1, 32, seen.watching());
        Burst burst(served, {{US_OP_WRITE, 0},
                             {US_OP_WRITE, 512},
                             {US_OP_WRITE, 1024},
                             {US_OP_READ, 1536},
                             {US_OP_WRITE, 2048}});
        while (seen.count() < (keep ? 0u : 3u))
            std::this_thread::yield();
        wait_in_flight(served, keep ? 5 : 2);
        params["startBytes"] = MiB;
        CHECK_EQ(refused(served, params), "");
        burst.wait();
        std::vector<uint64_t> in_order = {0, 512, 1024, 1536, 2048};
        std::vector<uint64_t> by_time = {512, 1536, 2048, 0, 1024};
        CHECK(seen.offsets == (keep ? in_order : by_time));
        CHECK(status_of(served)["counts"]["delayed"] == 4);
    }
}

TEST(the_same_seed_gives_the_same_delays_in_whatever_order_places_are_asked_for) {
    auto delays = [](const std::string &said, uint64_t seed, bool backwards) {
        us::Durations durations(said, seed, nullptr);
        std::map<std::pair<uint64_t, int>, uint64_t> out; // by place and visit
        for (int visit = 0; visit < 3; visit++)
            for (uint64_t i = 0; i < 1000; i++) {
                us::LeafIo io;
                io.offset = (backwards ? 999 - i : i) * 4096;
                out[{io.offset, visit}] = durations.next(io);
            }
        return out;
    };
    for (const char *said : {"uniform 1000 5000", "normal 3000 500"}) {
        auto some = delays(said, 7, false);
        CHECK(some == delays(said, 7, true));
        CHECK(some != delays(said, 8, false));
        CHECK((some[{0, 0}] != some[{0, 1}]));
        double sum = 0, squares = 0;
        for (auto [_, delay] : some) {
            CHECK(delay <= 6000 && (said[0] == 'n' || (delay >= 1000 && delay <= 5000)));
            sum += static_cast<double>(delay);
            squares += static_cast<double>(delay) * static_cast<double>(delay);
        }
        double count = static_cast<double>(some.size()), mean = sum / count;
        double deviation = std::sqrt(squares / count - mean * mean);
        CHECK(mean > 2900 && mean < 3100);
        double expected = said[0] == 'n' ? 500 : 4000 / std::sqrt(12.0);
        CHECK(deviation > expected * 0.9 && deviation < expected * 1.1);
    }
    us::Durations early("normal 10 1000000", 1, nullptr);
    bool none = false;
    for (int i = 0; i < 100; i++)
        none |= early.next({}) == 0; // and never less
    CHECK(none);
}

TEST(what_is_known_of_places_has_a_bound_and_follows_from_the_requests_all_the_same) {
    us::Visits first, second;
    us::LeafIo io;
    std::set<uint64_t> different;
    for (uint64_t i = 0; i < us::Visits::PLACES * 2; i++) {
        io.offset = i * 4096;
        uint64_t chance = first.chance(7, io);
        CHECK_EQ(second.chance(7, io), chance);
        if (i % 4096 == 0) different.insert(chance);
    }
    CHECK(first.places() <= us::Visits::PLACES);
    CHECK_EQ(different.size(), size_t{2 * us::Visits::PLACES / 4096});
    // A place that is asked for again, known or not, has other chances.
    for (uint64_t place : {uint64_t{0}, us::Visits::PLACES * 2 - 1}) {
        io.offset = place * 4096;
        CHECK(first.chance(7, io) != first.chance(7, io));
    }
}

TEST(a_pause_ends_while_the_queue_is_busy) {
    TempDir dir;
    auto config = over_file(dir, "delay", {{"write", "fixed 50000000"}});
    Served served(config.json());
    std::atomic<bool> done{false};
    std::thread reader([&] {
        while (!done)
            served.read(0, 4096);
    });
    CHECK(taken([&] { CHECK_EQ(served.write(0, Bytes(4096)).error, 0); }) >= milliseconds(50));
    done = true;
    reader.join();
}

TEST(new_settings_let_those_go_that_wait) {
    for (bool keep : {false, true}) {
        TempDir dir;
        auto config = over_file(dir, "delay", {{"write", AN_HOUR}, {"keepOrder", keep}});
        Served served(config.json());
        Burst burst(served, {{US_OP_WRITE, 0}, {US_OP_WRITE, 512}, {US_OP_WRITE, 1024}});
        wait_in_flight(served, 3);
        CHECK_EQ(refused(served, {{"write", "fixed"}}), "\"fixed\" says no delay");
        CHECK_EQ(status_of(served)["settings"]["write"].get<std::string>(), AN_HOUR);
        CHECK_EQ(refused(served, {{"read", AN_HOUR}, {"keepOrder", keep}}), "");
        burst.wait();
    }
}

TEST(a_server_that_stops_carries_out_what_waits) {
    for (const char *type : {"delay", "throttle"}) {
        TempDir dir;
        json params = {{"write", AN_HOUR}, {"writeBandwidthBytes", 1}, {"burstNs", 0}};
        auto config = over_file(dir, type, params);
        auto served = std::make_unique<Served>(config.json());
        Burst burst(*served, {{US_OP_WRITE, 0}, {US_OP_WRITE, 512}, {US_OP_WRITE, 1024}});
        while (served->graph().status()["queues"][0]["inFlight"] == 0)
            std::this_thread::yield();
        served.reset();
        burst.wait();
    }
}

TEST(what_says_no_delay_is_refused) {
    TempDir dir;
    auto config = over_file(dir, "delay", json::object());
    Served served(config.json());
    for (const char *said : {"5ms", "fixed -1", "fixed 1 2", "uniform 2 1", "uniform 1", "normal 1", "trace",
                             "fixed 9007199254740992", "fixed nan", "never"})
        CHECK(refused(served, {{"read", said}}) != "");
    CHECK(refused(served, {{"read", 5}}) != "");
}

TEST(no_more_requests_go_in_a_time_than_the_limit_says) {
    // 9 requests at 200 a second after the first one; as two for each 4 KiB begun.
    for (auto [length, slots] : {std::pair(4096u, 8), std::pair(8192u, 16)}) {
        TempDir dir;
        auto config = over_file(dir, "throttle", {{"writeIops", 200}, {"burstNs", 0}, {"iopsBytes", 4096}});
        Served served(config.json());
        auto time = taken([&] {
            for (int i = 0; i < 9; i++)
                CHECK_EQ(served.write(0, Bytes(length)).error, 0);
        });
        CHECK(time >= milliseconds(5) * slots);
        for (int i = 0; i < 100; i++)
            served.read(0, 4096);
        json counts = status_of(served)["counts"];
        CHECK(counts["throttledWrites"] > 0 && counts["throttledWrites"] <= 8);
        CHECK(counts["throttledReads"] == 0 && counts["readsWaitedNs"] == 0);
    }
}

TEST(no_more_bytes_go_in_a_time_than_the_limit_says) {
    TempDir dir;
    auto config = over_file(dir, "throttle", {{"bandwidthBytes", 8 * MiB}, {"burstNs", 0}});
    Served served(config.json());
    auto time = taken([&] {
        CHECK_EQ(served.write(0, Bytes(512 * KiB)).error, 0);
        served.read(0, 512 * KiB); // after 1/16 s
        served.read(0, 512);       // after 2/16 s
    });
    CHECK(time >= milliseconds(125));
    // Neither moves bytes; the three limits leave them alone.
    CHECK_EQ(served.io(US_OP_DISCARD, 0, 4 * MiB).error, 0);
    CHECK_EQ(served.io(US_OP_WRITE_ZEROES, 0, 4 * MiB).error, 0);
    CHECK_EQ(served.flush().error, 0);
    CHECK(served.read(0, 512) == Bytes(512));
}

TEST(a_burst_goes_at_once) {
    TempDir dir;
    // A request in ten seconds, and ten of them saved up.
    auto config = over_file(dir, "throttle", {{"iops", 1}, {"burstNs", 10'000 * MS}});
    Served served(config.json());
    for (int i = 0; i < 11; i++)
        served.read(0, 4096);
    CHECK(status_of(served)["counts"]["throttledReads"] == 0);
}

TEST(reads_and_writes_take_turns_at_what_they_share) {
    TempDir dir;
    auto config = over_file(dir, "throttle", {{"iops", 400}, {"burstNs", 0}});
    Seen seen;
    Served served(config.json(), 1, 32, seen.watching());
    std::vector<std::pair<us_op, uint64_t>> asked;
    std::vector<uint64_t> order;
    for (uint64_t i = 0; i < 12; i++) {
        asked.emplace_back(i < 6 ? US_OP_READ : US_OP_WRITE, i * 512);
        order.push_back(i * 512);
    }
    Burst(served, asked).wait();
    CHECK(seen.offsets == order); // who came first
}

TEST(a_slow_direction_does_not_hold_the_other_up) {
    TempDir dir;
    auto config = over_file(dir, "throttle", {{"writeBandwidthBytes", 1}, {"iops", 100'000}, {"burstNs", 0}});
    Served served(config.json());
    Burst burst(served, {{US_OP_WRITE, 0}, {US_OP_WRITE, 512}, {US_OP_WRITE, 1024}});
    wait_in_flight(served, 2);
    for (int i = 0; i < 20; i++)
        served.io(US_OP_READ, 0, 512, Bytes(512).data(), 0);
    CHECK_EQ(refused(served, {{"writeBandwidthBytes", 0}}), ""); // and no limit is a limit that lets go
    burst.wait();
    CHECK_EQ(served.write(0, Bytes(512)).error, 0);
}

TEST(many_writers_of_several_queues_share_a_limit) {
    TempDir dir;
    auto config = over_file(dir, "throttle", {{"iops", 2000}, {"writeIops", 1000}, {"burstNs", 1 * MS}});
    Served served(config.json(), 2);
    std::vector<std::thread> clients;
    auto time = taken([&] {
        for (uint32_t i = 0; i < 6; i++)
            clients.emplace_back([&, i] {
                Bytes data(512);
                for (int n = 0; n < 20; n++)
                    CHECK_EQ(served.io(i % 3 ? US_OP_WRITE : US_OP_READ, i * 512, 512, data.data(), 0, i % 2)
                                 .error,
                             0);
            });
        for (std::thread &client : clients)
            client.join();
    });
    CHECK(time >= milliseconds(78)); // 80 writes, less the first and a burst of one
}
