#include "targets/error/error.h"

#include <cerrno>
#include <string>

namespace us {

namespace {

// Those that a block device can answer with (block/blk-core.c, blk_errors).
struct Name {
    const char *name;
    int number;
};
constexpr Name ERRORS[] = {{"EIO", EIO},         {"ENOSPC", ENOSPC},       {"ETIMEDOUT", ETIMEDOUT},
                           {"ENOLINK", ENOLINK}, {"EREMOTEIO", EREMOTEIO}, {"ENODATA", ENODATA},
                           {"EILSEQ", EILSEQ},   {"ENOMEM", ENOMEM},       {"EOPNOTSUPP", EOPNOTSUPP},
                           {"EROFS", EROFS},     {"EINVAL", EINVAL}};

int32_t parse_error(const std::string &name) {
    for (const Name &known : ERRORS)
        if (name == known.name) return -known.number;
    throw ConfigError("bad-value", "there is no error \"" + name + "\"");
}

} // namespace

ErrorInstrument::Settings::Settings(const nlohmann::json &params)
    : error(parse_error(params.value("errno", "EIO"))),
      chooser(params, "read,write,flush,discard,write-zeroes") {}

Instrument::Watch ErrorInstrument::configure(const nlohmann::json &params) {
    auto settings = std::make_shared<Settings>(params);
    Watch watch{settings->chooser.ops(), settings->chooser.start(), settings->chooser.end()};
    settings_.store(std::move(settings));
    return watch;
}

nlohmann::json ErrorInstrument::counts() const {
    return {{"failed", failed_.load(std::memory_order_relaxed)}};
}

Task<IoResult> ErrorInstrument::execute(Executor &executor, LeafIo io, const Run &run) {
    std::shared_ptr<Settings> settings = settings_.load();
    if (settings->chooser.strikes(io)) {
        failed_.fetch_add(1, std::memory_order_relaxed);
        co_return IoResult{settings->error, 0};
    }
    IoResult result = co_await pass(executor, io, run);
    co_return result;
}

} // namespace us
