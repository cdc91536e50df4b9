// Runs blocking work on a thread of libuv's pool and gives JavaScript a promise of its result.
#pragma once

#define NAPI_VERSION 8
#include <napi.h>

#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "addon/image_file.h"
#include "frontends/ublk/control.h"

namespace us::addon {

// What a rejected promise holds: an Error with code (errno name) and op (the command in the kernel's words).
struct Failure {
    std::string message, code, op;

    static Failure of(const std::system_error &error, const char *op) {
        const char *name = strerrorname_np(error.code().value());
        return {error.what(), name ? name : std::to_string(error.code().value()), op};
    }
    Napi::Value value(Napi::Env env) const {
        Napi::Error error = Napi::Error::New(env, message);
        error.Set("code", Napi::String::New(env, code));
        error.Set("op", Napi::String::New(env, op));
        return error.Value();
    }
};

// `work` runs on another thread and returns a Result; `convert(env, result)` makes it a JavaScript value.
template <typename Work, typename Convert> class PromiseWorker : public Napi::AsyncWorker {
    using Result = decltype(std::declval<Work>()());

  public:
    PromiseWorker(Napi::Env env, Work work, Convert convert)
        : Napi::AsyncWorker(env), promise_(Napi::Promise::Deferred::New(env)), work_(std::move(work)),
          convert_(std::move(convert)) {}

    Napi::Promise promise() const { return promise_.Promise(); }

    void Execute() override {
        try {
            result_.emplace(work_());
        } catch (const ublk::ControlError &error) {
            failure_ = Failure::of(error, error.op);
        } catch (const FileError &error) {
            failure_ = Failure::of(error, error.op);
        } catch (const std::system_error &error) {
            failure_ = Failure::of(error, "io_uring");
        }
    }
    // Also after a failure: SetError() would lose its code.
    void OnOK() override {
        if (failure_)
            promise_.Reject(failure_->value(Env()));
        else
            promise_.Resolve(convert_(Env(), *result_));
    }
    void OnError(const Napi::Error &error) override { promise_.Reject(error.Value()); }

  private:
    Napi::Promise::Deferred promise_;
    Work work_;
    Convert convert_;
    std::optional<Result> result_;
    std::optional<Failure> failure_;
};

template <typename Work, typename Convert> Napi::Value promise_of(Napi::Env env, Work work, Convert convert) {
    // Deletes itself when the promise has been settled.
    auto *worker = new PromiseWorker<Work, Convert>(env, std::move(work), std::move(convert));
    Napi::Promise promise = worker->promise();
    worker->Queue();
    return promise;
}

inline Napi::Value string_list(Napi::Env env, const std::vector<std::string> &names) {
    Napi::Array list = Napi::Array::New(env, names.size());
    for (uint32_t i = 0; i < names.size(); i++)
        list.Set(i, Napi::String::New(env, names[i]));
    return list;
}

} // namespace us::addon
