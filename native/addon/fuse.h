// Mounting over FUSE, as root or as a plain user.
#pragma once

#define NAPI_VERSION 8
#include <napi.h>

namespace us::addon {

// fuseMount(path): a promise of a descriptor of /dev/fuse whose mount lies over the file at path.
Napi::Value fuse_mount(const Napi::CallbackInfo &info);

} // namespace us::addon
