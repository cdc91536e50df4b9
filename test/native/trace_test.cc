// The traces that delays go by: what is refused of them, and what becomes of one that goes away.
#include <filesystem>
#include <fstream>

#include "check.h"
#include "stand.h"
#include "targets/config_error.h"

namespace {

constexpr uint64_t MiB = 1 << 20;

ConfigBuilder traced(const TempDir &dir) {
    ConfigBuilder config(dir);
    config.add("delay", "top", 4 * MiB, {1}, {{"read", "trace"}});
    config.add("file", "disk", 4 * MiB);
    config.path("disk", dir.file("disk", 4 * MiB));
    config.path("top", dir.path("trace"));
    return config;
}

} // namespace

TEST(a_trace_that_has_gone_goes_on_with_the_next_server_and_no_other_trace_does) {
    TempDir dir;
    std::ofstream(dir.path("trace")) << "1ns\n";
    auto config = traced(dir);
    auto fails = [&] {
        try {
            Served served(config.json());
        } catch (const us::ConfigError &error) {
            return error.code;
        }
        return std::string("serves");
    };
    CHECK_EQ(fails(), std::string("serves"));
    std::filesystem::remove(dir.path("trace"));
    CHECK_EQ(fails(), std::string("serves"));
    std::ofstream(dir.path("trace")) << "nonsense\n";
    CHECK_EQ(fails(), std::string("serves"));
    config.path("top", dir.path("other"));
    CHECK_EQ(fails(), std::string("path-missing"));
}

TEST(a_trace_that_is_none_is_refused_by_its_line) {
    struct {
        const char *text, *why;
    } cases[] = {{"5ms\n7\n", "line 2 is no duration such as 5ms"},
                 {"1ms\n\n99999999999h\n", "line 3 is no duration such as 5ms"},
                 {"007ms", "line 1 is no duration such as 5ms"},
                 {"# nothing\n", "it holds no duration"},
                 {nullptr, "No such file or directory"}};
    for (auto [text, why] : cases) {
        TempDir dir;
        if (text) std::ofstream(dir.path("trace")) << text;
        auto config = traced(dir);
        us::Graph graph(config.json());
        std::string message;
        try {
            graph.open(1, 1);
        } catch (const us::ConfigError &error) {
            message = error.what();
        }
        CHECK(message.ends_with(why));
        CHECK(message.find("trace") != std::string::npos);
    }
}
