// Disk images for JavaScript; see src/native.ts for the types.
#pragma once

#define NAPI_VERSION 8
#include <napi.h>

namespace us::addon {

Napi::Value image_header(const Napi::CallbackInfo &info);

} // namespace us::addon
