// The addon's face to JavaScript: names and functions, no logic. src/native.ts is its only loader.
#define NAPI_VERSION 8
#include <napi.h>

#include "addon/fuse.h"
#include "addon/image.h"
#include "addon/map.h"
#include "addon/ublk.h"
#include "addon/uring_probe.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
    using Function = Napi::Value (*)(const Napi::CallbackInfo &);
    const std::pair<const char *, Function> functions[] = {
        {"features", us::addon::features},
        {"getDevInfo", us::addon::get_dev_info},
        {"listDevs", us::addon::list_devs},
        {"stopDev", us::addon::stop_dev},
        {"delDev", us::addon::del_dev},
        {"uringProbe", us::addon::uring_probe},
        {"map", us::addon::map},
        {"fuseMount", us::addon::fuse_mount},
        {"imageHeader", us::addon::image_header},
        {"imageOpen", us::addon::image_open},
        {"imageClose", us::addon::image_close},
        {"imageDetails", us::addon::image_details},
        {"imageCheck", us::addon::image_check},
        {"imageMap", us::addon::image_map},
        {"imageCompact", us::addon::image_compact},
    };
    for (const auto &[name, function] : functions)
        exports.Set(name, Napi::Function::New(env, function, name));
    return exports;
}

NODE_API_MODULE(ublk_stack, init)

} // namespace
