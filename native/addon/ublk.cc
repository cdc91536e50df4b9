#include "addon/ublk.h"

#include <array>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "addon/promise.h"
#include "frontends/ublk/control.h"

namespace us::addon {

namespace {

using Millis = ublk::Control::Millis;

struct FlagName {
    uint64_t bit;
    const char *name;
};

// In the kernel's words, without UBLK_F_.
constexpr std::array FLAG_NAMES{
    FlagName{ublk::F_SUPPORT_ZERO_COPY, "SUPPORT_ZERO_COPY"},
    FlagName{ublk::F_URING_CMD_COMP_IN_TASK, "URING_CMD_COMP_IN_TASK"},
    FlagName{ublk::F_NEED_GET_DATA, "NEED_GET_DATA"},
    FlagName{ublk::F_USER_RECOVERY, "USER_RECOVERY"},
    FlagName{ublk::F_USER_RECOVERY_REISSUE, "USER_RECOVERY_REISSUE"},
    FlagName{ublk::F_UNPRIVILEGED_DEV, "UNPRIVILEGED_DEV"},
    FlagName{ublk::F_CMD_IOCTL_ENCODE, "CMD_IOCTL_ENCODE"},
    FlagName{ublk::F_USER_COPY, "USER_COPY"},
    FlagName{ublk::F_ZONED, "ZONED"},
    FlagName{ublk::F_USER_RECOVERY_FAIL_IO, "USER_RECOVERY_FAIL_IO"},
    FlagName{ublk::F_UPDATE_SIZE, "UPDATE_SIZE"},
    FlagName{ublk::F_AUTO_BUF_REG, "AUTO_BUF_REG"},
    FlagName{ublk::F_QUIESCE, "QUIESCE"},
    FlagName{ublk::F_PER_IO_DAEMON, "PER_IO_DAEMON"},
    FlagName{ublk::F_BUF_REG_OFF_DAEMON, "BUF_REG_OFF_DAEMON"},
    FlagName{ublk::F_BATCH_IO, "BATCH_IO"},
    FlagName{ublk::F_INTEGRITY, "INTEGRITY"},
    FlagName{ublk::F_SAFE_STOP_DEV, "SAFE_STOP_DEV"},
    FlagName{ublk::F_NO_AUTO_PART_SCAN, "NO_AUTO_PART_SCAN"},
    FlagName{ublk::F_SHMEM_ZC, "SHMEM_ZC"},
    FlagName{ublk::F_IO_DESC_SIZE, "IO_DESC_SIZE"},
};

// Bits newer than this program are "BIT_n".
std::vector<std::string> flag_names(uint64_t flags) {
    std::vector<std::string> names;
    for (const FlagName &flag : FLAG_NAMES) {
        if (flags & flag.bit) names.emplace_back(flag.name);
        flags &= ~flag.bit;
    }
    for (int bit = 0; bit < 64; bit++)
        if (flags >> bit & 1) names.push_back("BIT_" + std::to_string(bit));
    return names;
}

const char *state_name(uint16_t state) {
    switch (state) {
    case ublk::S_DEV_DEAD:
        return "dead";
    case ublk::S_DEV_LIVE:
        return "live";
    case ublk::S_DEV_QUIESCED:
        return "quiesced";
    case ublk::S_DEV_FAIL_IO:
        return "fail-io";
    default:
        return "unknown";
    }
}

Napi::Value device_object(Napi::Env env, const ublk::dev_info &device) {
    char tag[17];
    snprintf(tag, sizeof(tag), "%016llx", static_cast<unsigned long long>(device.ublksrv_flags));
    Napi::Object object = Napi::Object::New(env);
    object.Set("id", device.dev_id);
    object.Set("state", state_name(device.state));
    object.Set("tag", tag);
    object.Set("queues", static_cast<uint32_t>(device.nr_hw_queues));
    object.Set("depth", static_cast<uint32_t>(device.queue_depth));
    object.Set("maxIoBytes", device.max_io_buf_bytes);
    object.Set("serverPid",
               device.ublksrv_pid > 0 ? Napi::Value(Napi::Number::New(env, device.ublksrv_pid)) : env.Null());
    object.Set("flags", string_list(env, flag_names(device.flags)));
    return object;
}

// A whole number from 0 to `max`. Throws a TypeError into JavaScript.
uint32_t number_at(const Napi::CallbackInfo &info, size_t index, const char *name, double max) {
    double value =
        index < info.Length() && info[index].IsNumber() ? info[index].As<Napi::Number>().DoubleValue() : -1;
    if (!(value >= 0 && value <= max) || value != static_cast<double>(static_cast<uint32_t>(value)))
        throw Napi::TypeError::New(info.Env(), std::string(name) + " has to be a whole number from 0 to " +
                                                   std::to_string(static_cast<uint32_t>(max)));
    return static_cast<uint32_t>(value);
}

constexpr double MAX_ID = ublk::NO_DEVICE - 1.0;
constexpr double MAX_TIMEOUT_MS = 3'600'000;

Napi::Value undefined(Napi::Env env, bool) {
    return env.Undefined();
}

} // namespace

Napi::Value features(const Napi::CallbackInfo &info) {
    return promise_of(
        info.Env(), [] { return ublk::Control().features(); },
        [](Napi::Env env, const std::optional<uint64_t> &known) -> Napi::Value {
            return known ? string_list(env, flag_names(*known)) : env.Null();
        });
}

Napi::Value get_dev_info(const Napi::CallbackInfo &info) {
    uint32_t id = number_at(info, 0, "id", MAX_ID);
    return promise_of(
        info.Env(), [id] { return ublk::Control().info(id); },
        [](Napi::Env env, const std::optional<ublk::dev_info> &device) -> Napi::Value {
            return device ? device_object(env, *device) : env.Null();
        });
}

Napi::Value list_devs(const Napi::CallbackInfo &info) {
    return promise_of(
        info.Env(),
        [] {
            ublk::Control control;
            std::vector<ublk::dev_info> devices;
            for (uint32_t id : ublk::list_devices())
                if (std::optional<ublk::dev_info> device = control.info(id)) devices.push_back(*device);
            return devices;
        },
        [](Napi::Env env, const std::vector<ublk::dev_info> &devices) -> Napi::Value {
            Napi::Array list = Napi::Array::New(env, devices.size());
            for (uint32_t i = 0; i < devices.size(); i++)
                list.Set(i, device_object(env, devices[i]));
            return list;
        });
}

Napi::Value stop_dev(const Napi::CallbackInfo &info) {
    uint32_t id = number_at(info, 0, "id", MAX_ID);
    Millis timeout{number_at(info, 1, "timeoutMs", MAX_TIMEOUT_MS)};
    auto work = [id, timeout] {
        ublk::Control().stop(id, timeout);
        return true;
    };
    return promise_of(info.Env(), work, undefined);
}

Napi::Value del_dev(const Napi::CallbackInfo &info) {
    uint32_t id = number_at(info, 0, "id", MAX_ID);
    Millis timeout{number_at(info, 1, "timeoutMs", MAX_TIMEOUT_MS)};
    auto work = [id, timeout] {
        ublk::Control().remove(id, timeout);
        return true;
    };
    return promise_of(info.Env(), work, undefined);
}

} // namespace us::addon
