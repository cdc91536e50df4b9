// Control commands of the ublk driver for JavaScript; see src/native.ts for the types.
#pragma once

#define NAPI_VERSION 8
#include <napi.h>

namespace us::addon {

Napi::Value features(const Napi::CallbackInfo &info);
Napi::Value get_dev_info(const Napi::CallbackInfo &info);
Napi::Value list_devs(const Napi::CallbackInfo &info);
Napi::Value stop_dev(const Napi::CallbackInfo &info);
Napi::Value del_dev(const Napi::CallbackInfo &info);

} // namespace us::addon
