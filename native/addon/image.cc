#include "addon/image.h"

#include <memory>

#include "addon/image_compact.h"
#include "addon/image_file.h"
#include "addon/image_values.h"
#include "addon/promise.h"

namespace us::addon {

namespace {

// An image that JavaScript holds.
struct Opened {
    explicit Opened(const std::string &path)
        : file(path), disk_bytes(file.disk_bytes()), still(file.keep_still()), head(file.head()) {}

    const qcow2::Header &header() const { return head.header; }

    ImageFile file;
    uint64_t disk_bytes;
    bool still; // nobody writes to it
    ImageHead head;
};
using Handle = std::shared_ptr<Opened>;

Napi::Value handle_value(Napi::Env env, const Handle &opened) {
    return Napi::External<Handle>::New(env, new Handle(opened),
                                       [](Napi::Env, const Handle *handle) { delete handle; });
}

Handle &handle_of(const Napi::CallbackInfo &info) {
    return *info[0].As<Napi::External<Handle>>().Data();
}

// Work that begins after a close, or on what is no image, is a mistake of the caller's.
Handle image_of(const Napi::CallbackInfo &info) {
    Handle opened = handle_of(info);
    if (!opened || opened->head.kind != ImageHead::qcow2)
        throw Napi::TypeError::New(info.Env(), "an open qcow2 image was expected");
    return opened;
}

// A word of JavaScript's that says whether to go on, kept from being collected.
struct Stop {
    explicit Stop(const Napi::Value &value) : array(Napi::Persistent(value.As<Napi::Int32Array>())) {
        word = array.Value().Data();
    }
    Napi::Reference<Napi::Int32Array> array;
    const int32_t *word;
};

template <typename Result> Napi::Value convert(Napi::Env env, const Result &result) {
    return value_of(env, result);
}

} // namespace

Napi::Value image_header(const Napi::CallbackInfo &info) {
    return promise_of(
        info.Env(), [path = info[0].As<Napi::String>().Utf8Value()] { return ImageFile(path).head(); },
        convert<ImageHead>);
}

Napi::Value image_open(const Napi::CallbackInfo &info) {
    return promise_of(
        info.Env(),
        [path = info[0].As<Napi::String>().Utf8Value()] { return std::make_shared<Opened>(path); },
        [](Napi::Env env, const Handle &opened) -> Napi::Value {
            Napi::Object object = Napi::Object::New(env);
            object.Set("handle", handle_value(env, opened));
            object.Set("header", value_of(env, opened->head));
            object.Set("inUse", !opened->still);
            object.Set("fileBytes", static_cast<double>(opened->file.bytes()));
            object.Set("diskBytes", static_cast<double>(opened->disk_bytes));
            return object;
        });
}

Napi::Value image_close(const Napi::CallbackInfo &info) {
    handle_of(info).reset();
    return info.Env().Undefined();
}

Napi::Value image_details(const Napi::CallbackInfo &info) {
    return promise_of(
        info.Env(), [opened = image_of(info)] { return opened->file.details(opened->header()); },
        convert<ImageDetails>);
}

Napi::Value image_check(const Napi::CallbackInfo &info) {
    auto work = [opened = image_of(info), stop = std::make_shared<Stop>(info[1])] {
        return opened->file.check(opened->header(), *stop->word);
    };
    return promise_of(info.Env(), work, convert<qcow2::CheckReport>);
}

Napi::Value image_map(const Napi::CallbackInfo &info) {
    auto from = static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value());
    auto work = [opened = image_of(info), from, stop = std::make_shared<Stop>(info[2])] {
        return opened->file.map(opened->header(), from, *stop->word);
    };
    return promise_of(info.Env(), work, convert<ImageRuns>);
}

Napi::Value image_compact(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    auto compaction = std::make_shared<qcow2::Compaction>();
    auto work = [path = info[0].As<Napi::String>().Utf8Value(), shorten = info[1].ToBoolean().Value(),
                 compaction] { return compact_image(path, shorten, *compaction); };
    auto convert_done = [compaction](Napi::Env env, const ImageCompacted &done) {
        return value_of(env, done, *compaction);
    };
    Napi::Object object = Napi::Object::New(env);
    object.Set("done", promise_of(env, work, convert_done));
    object.Set("progress", Napi::Function::New(env, [compaction](const Napi::CallbackInfo &info) {
                   return progress_value(info.Env(), *compaction);
               }));
    object.Set("stop", Napi::Function::New(env, [compaction](const Napi::CallbackInfo &info) {
                   compaction->stop = true;
                   return info.Env().Undefined();
               }));
    return object;
}

} // namespace us::addon
