// Disk images for JavaScript; see src/native.ts for the types.
#pragma once

#define NAPI_VERSION 8
#include <napi.h>

namespace us::addon {

Napi::Value image_header(const Napi::CallbackInfo &info);
Napi::Value image_open(const Napi::CallbackInfo &info);
Napi::Value image_close(const Napi::CallbackInfo &info);
Napi::Value image_details(const Napi::CallbackInfo &info);
Napi::Value image_check(const Napi::CallbackInfo &info);
Napi::Value image_compact(const Napi::CallbackInfo &info);
Napi::Value image_map(const Napi::CallbackInfo &info);

} // namespace us::addon
