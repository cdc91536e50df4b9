#include "targets/registry.h"

#include <functional>
#include <map>

#include "targets/badblocks/badblocks.h"
#include "targets/block/block.h"
#include "targets/cow/cow.h"
#include "targets/delay/delay.h"
#include "targets/error/error.h"
#include "targets/file/file.h"
#include "targets/flakey/flakey.h"
#include "targets/linear/linear.h"
#include "targets/logwrites/logwrites.h"
#include "targets/mirror/mirror.h"
#include "targets/null/null.h"
#include "targets/partition/partition.h"
#include "targets/qcow2/qcow2.h"
#include "targets/readonly/readonly.h"
#include "targets/stripe/stripe.h"
#include "targets/throttle/throttle.h"

namespace us {

namespace {

using Maker = std::function<std::unique_ptr<Target>(LayerConfig)>;

template <typename T> Maker make() {
    return [](LayerConfig config) { return std::make_unique<T>(std::move(config)); };
}

const std::map<std::string, Maker> &makers() {
    static const std::map<std::string, Maker> all = {
        {"null", make<NullLeaf>()},
        {"zero", make<NullLeaf>()},
        {"file", [](LayerConfig config) { return std::make_unique<FileLeaf>(std::move(config), false); }},
        {"memory", [](LayerConfig config) { return std::make_unique<FileLeaf>(std::move(config), true); }},
        {"block", make<BlockLeaf>()},
        {"linear", make<LinearTarget>()},
        {"stripe", make<StripeTarget>()},
        {"mirror", make<MirrorTarget>()},
        {"partition", make<PartitionTarget>()},
        {"qcow2", make<Qcow2>()},
        {"error", make<ErrorInstrument>()},
        {"delay", make<DelayInstrument>()},
        {"throttle", make<ThrottleInstrument>()},
        {"badblocks", make<BadblocksInstrument>()},
        {"readonly", make<ReadonlyInstrument>()},
        {"cow", make<Cow>()},
        {"flakey", make<Flakey>()},
        {"logwrites", make<LogWrites>()},
    };
    return all;
}

} // namespace

std::unique_ptr<Target> make_target(const std::string &type, LayerConfig config) {
    auto maker = makers().find(type);
    if (maker == makers().end())
        throw ConfigError("server-start",
                          "layer \"" + config.name + "\" has the unknown type \"" + type + "\"", config.name);
    return maker->second(std::move(config));
}

} // namespace us
