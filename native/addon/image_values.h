// What was found in images, as JavaScript has it; see src/native.ts for the types.
#pragma once

#define NAPI_VERSION 8
#include <napi.h>

#include "addon/image_compact.h"
#include "addon/image_file.h"

namespace us::addon {

Napi::Value value_of(Napi::Env env, const ImageHead &head);
Napi::Value value_of(Napi::Env env, const ImageDetails &details);
Napi::Value value_of(Napi::Env env, const qcow2::CheckReport &report);
Napi::Value value_of(Napi::Env env, const ImageRuns &part);
Napi::Value value_of(Napi::Env env, const ImageCompacted &done, const qcow2::Compaction &compaction);
Napi::Value progress_value(Napi::Env env, const qcow2::Compaction &compaction);

} // namespace us::addon
