// What this kernel's io_uring can do, of the things that the data plane uses.
#pragma once

#define NAPI_VERSION 8
#include <napi.h>

namespace us::addon {

Napi::Value uring_probe(const Napi::CallbackInfo &info);

} // namespace us::addon
