#include "addon/uring_probe.h"

#include <liburing.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "addon/promise.h"

namespace us::addon {

namespace {

struct Named {
    uint32_t value;
    const char *name;
};

constexpr std::array OPERATIONS{
    Named{IORING_OP_READ, "READ"},
    Named{IORING_OP_WRITE, "WRITE"},
    Named{IORING_OP_READ_FIXED, "READ_FIXED"},
    Named{IORING_OP_WRITE_FIXED, "WRITE_FIXED"},
    Named{IORING_OP_FSYNC, "FSYNC"},
    Named{IORING_OP_FALLOCATE, "FALLOCATE"},
    Named{IORING_OP_RECV, "RECV"},
    Named{IORING_OP_SENDMSG, "SENDMSG"},
    Named{IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
    Named{IORING_OP_URING_CMD, "URING_CMD"},
};

constexpr std::array FEATURES{
    Named{IORING_FEAT_SINGLE_MMAP, "SINGLE_MMAP"},
    Named{IORING_FEAT_NODROP, "NODROP"},
    Named{IORING_FEAT_SUBMIT_STABLE, "SUBMIT_STABLE"},
    Named{IORING_FEAT_FAST_POLL, "FAST_POLL"},
    Named{IORING_FEAT_EXT_ARG, "EXT_ARG"},
    Named{IORING_FEAT_RSRC_TAGS, "RSRC_TAGS"},
};

constexpr std::array SETUPS{
    Named{IORING_SETUP_SQE128, "SETUP_SQE128"},
    Named{IORING_SETUP_SINGLE_ISSUER, "SETUP_SINGLE_ISSUER"},
    Named{IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, "SETUP_DEFER_TASKRUN"},
};

struct Probe {
    std::vector<std::string> supported, missing;
    void add(bool has, const char *name) { (has ? supported : missing).emplace_back(name); }
};

class Ring {
  public:
    // error(): 0 or -errno.
    explicit Ring(uint32_t setup) {
        io_uring_params params{};
        params.flags = setup;
        error_ = io_uring_queue_init_params(4, &ring_, &params);
        features_ = params.features;
    }
    ~Ring() {
        if (error_ == 0) io_uring_queue_exit(&ring_);
    }
    Ring(const Ring &) = delete;
    Ring &operator=(const Ring &) = delete;
    int error() const { return error_; }
    uint32_t features() const { return features_; }
    io_uring *get() { return &ring_; }

  private:
    io_uring ring_{};
    int error_ = 0;
    uint32_t features_ = 0;
};

Probe probe() {
    Ring ring(0);
    if (ring.error() < 0)
        throw std::system_error(-ring.error(), std::generic_category(), "io_uring cannot be used here");
    Probe result;
    std::unique_ptr<io_uring_probe, decltype(&io_uring_free_probe)> operations(
        io_uring_get_probe_ring(ring.get()), io_uring_free_probe);
    for (const Named &op : OPERATIONS)
        result.add(operations && io_uring_opcode_supported(operations.get(), static_cast<int>(op.value)),
                   op.name);
    for (const Named &feature : FEATURES)
        result.add((ring.features() & feature.value) != 0, feature.name);
    for (const Named &setup : SETUPS)
        result.add(Ring(setup.value).error() == 0, setup.name);
    return result;
}

} // namespace

Napi::Value uring_probe(const Napi::CallbackInfo &info) {
    return promise_of(info.Env(), probe, [](Napi::Env env, const Probe &result) -> Napi::Value {
        Napi::Object object = Napi::Object::New(env);
        object.Set("supported", string_list(env, result.supported));
        object.Set("missing", string_list(env, result.missing));
        return object;
    });
}

} // namespace us::addon
