// The ublk frontend: one ublk device for one exported layer.
//
//   main:  device.observe()     is there a device of a predecessor? After it nr_queues() and depth() are
//   known
//          graph.open(device.nr_queues(), device.depth())
//          device.acquire()     ADD_DEV, or START_USER_RECOVERY of the predecessor's; opens /dev/ublkcN
//          (sandbox)            no path is needed from here on
//          device.start()       queues up, graph settled, tags fetched, START_DEV or END_USER_RECOVERY
//          device.stop()        from any thread, or the driver takes the device back; device.join()
//          graph.close()
//
// After stop() the device stays quiesced until another server recovers it. Whoever deletes a device sends
// STOP_DEV.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/graph.h"
#include "engine/shelf.h"
#include "frontends/ublk/control.h"
#include "frontends/ublk/queue.h"

namespace us::ublk {

// A start that failed: a code of src/errors.ts and one message.
struct StartError : std::runtime_error {
    StartError(std::string code, const std::string &message)
        : std::runtime_error(message), code(std::move(code)) {}
    std::string code;
};

class Device {
  public:
    // What is waited for, in words, whenever that may take long.
    using Progress = std::function<void(const std::string &)>;

    // Reads table.ublk and table.exports, runtime.runDir and runtime.tag of config.json. Throws ConfigError
    // for a wrong config and ControlError without a driver.
    Device(Graph &graph, const nlohmann::json &config, Progress progress);
    // Ends what runs. A device that this object added and that never went live is removed again.
    ~Device();
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    // Waits, bounded, for a predecessor that is still dying. Throws StartError or ControlError.
    void observe();
    uint32_t nr_queues() const { return facts_.info.nr_hw_queues; }
    uint32_t depth() const { return facts_.info.queue_depth; }

    // `shelf`: what a server before may have left, and this one leaves. Throws StartError or ControlError.
    void acquire(Shelf &shelf);
    // Returns when clients are served. Throws what acquire(), Queue and Graph::settle() throw.
    void start();
    // Any thread, any number of times, after start() has returned.
    void stop();
    // Until stop() has been called, or the driver has taken the device back, and everything in flight has
    // ended.
    void join();

    uint32_t id() const { return facts_.info.dev_id; }
    // Below nr_queues(), after start().
    DeviceQueue &queue(uint32_t index) { return *queues_[index]; }
    bool recovered() const { return recovering_; }
    // "auto-zero-copy" or "copy".
    // Adds to a queue's part of the status what its engine is and does. Any thread, once start() has
    // returned.
    void describe_queue(uint32_t index, nlohmann::json &status) const;
    const char *copy_mode() const { return facts_.zero_copy() ? "auto-zero-copy" : "copy"; }

  private:
    std::optional<dev_info> find_predecessor();
    void await_quiesced(dev_info &info);
    void add();
    void remove_quietly();
    void open_char_device();
    void resize();
    void remember_id() const;
    std::optional<uint32_t> remembered_id() const;
    uint64_t wanted_flags() const;
    void read_engine(const nlohmann::json &settings);
    std::string missing_for_kernel() const;
    void choose_engine(Shelf &shelf);
    void refuse_kernel(const std::string &reason, const std::string &log);

    Graph &graph_;
    Progress progress_;
    std::string run_dir_;
    uint64_t owner_tag_ = 0;
    uint32_t wanted_id_ = NO_DEVICE;
    bool part_scan_ = true;

    struct {
        bool native_only = false, kernel_only = false; // as the file says
        Polling polling = Polling::adaptive;
        bool in_kernel = false;
        std::string reason;
    } engine_;

    Control control_;
    DeviceFacts facts_;
    bool recovering_ = false;
    bool added_ = false; // by this object, and not live yet
    std::vector<std::unique_ptr<DeviceQueue>> queues_;
    std::atomic<bool> stopping_{false}, taken_back_{false};
};

} // namespace us::ublk
