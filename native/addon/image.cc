#include "addon/image.h"

#include "addon/image_file.h"
#include "addon/promise.h"

namespace us::addon {

namespace {

Napi::Value text_or_null(Napi::Env env, const std::string &text) {
    if (text.empty()) return env.Null();
    return Napi::String::New(env, text);
}

Napi::Value backing(Napi::Env env, const qcow2::Header &header) {
    if (header.backing_name.empty()) return env.Null();
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", header.backing_name);
    object.Set("format", text_or_null(env, header.backing_format));
    return object;
}

void set_header(Napi::Env env, Napi::Object object, const qcow2::Header &header) {
    bool data_file = header.has(qcow2::INCOMPATIBLE_DATA_FILE);
    object.Set("sizeBytes", static_cast<double>(header.size));
    object.Set("version", header.version);
    object.Set("clusterBytes", static_cast<double>(header.cluster_bytes()));
    object.Set("refcountBits", header.refcount_bits());
    object.Set("extendedL2", header.shape.extended != 0);
    object.Set("compression", header.compression == qcow2::Compression::zstd ? "zstd" : "zlib");
    object.Set("backing", backing(env, header));
    object.Set("dataFile",
               data_file ? Napi::Value(Napi::String::New(env, header.data_file_name)) : env.Null());
    object.Set("dataFileRaw", (header.autoclear & qcow2::AUTOCLEAR_DATA_FILE_RAW) != 0);
    object.Set("snapshots", header.nr_snapshots);
    object.Set("bitmaps", header.bitmaps ? header.bitmaps->nr_bitmaps : 0);
    object.Set("dirty", header.has(qcow2::INCOMPATIBLE_DIRTY));
    object.Set("corrupt", header.has(qcow2::INCOMPATIBLE_CORRUPT));
    object.Set("lazyRefcounts", (header.compatible & qcow2::COMPATIBLE_LAZY_REFCOUNTS) != 0);
}

Napi::Object head_object(Napi::Env env, const ImageHead &head) {
    static const char *const kinds[] = {"qcow2", "refused", "blank", "other"};
    Napi::Object object = Napi::Object::New(env);
    object.Set("kind", kinds[head.kind]);
    if (head.kind == ImageHead::qcow2) set_header(env, object, head.header);
    if (head.kind == ImageHead::refused) object.Set("message", head.message);
    return object;
}

} // namespace

Napi::Value image_header(const Napi::CallbackInfo &info) {
    return promise_of(
        info.Env(), [path = info[0].As<Napi::String>().Utf8Value()] { return ImageFile(path).head(); },
        [](Napi::Env env, const ImageHead &head) -> Napi::Value { return head_object(env, head); });
}

} // namespace us::addon
