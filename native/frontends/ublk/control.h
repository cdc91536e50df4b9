// Control commands of the ublk driver, each with a bounded wait.
//
// A command that times out is cancelled; what the kernel may still write to stays allocated for good, so that
// a driver that hangs can never corrupt or hang its caller.
#pragma once

#include <liburing.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <sched.h>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "frontends/ublk/uapi.h"

namespace us::ublk {

constexpr uint32_t NO_DEVICE = 0xffffffff;

// A refused or late command: code().value() is a positive errno, ETIME when it did not answer in time.
struct ControlError : std::system_error {
    ControlError(const char *op, int error, const std::string &what)
        : std::system_error(error, std::generic_category(), what), op(op) {}
    const char *op; // the command's name in the kernel's own words, or "open"
};

class Control {
  public:
    using Millis = std::chrono::milliseconds;
    static constexpr Millis QUICK{5'000}; // commands that wait for nobody

    // Opens /dev/ublk-control and asks for the driver's features. Throws ControlError: ENOENT without a
    // driver, EACCES or EPERM for plain users.
    Control();
    ~Control();
    Control(const Control &) = delete;
    Control &operator=(const Control &) = delete;

    // F_ bits that the driver knows; nothing before Linux 6.5, where only ADD_DEV tells.
    std::optional<uint64_t> features() const { return features_; }

    // `wanted.dev_id` NO_DEVICE lets the driver choose. Returns what is in force. EEXIST: the id is taken.
    dev_info add(const dev_info &wanted);

    // std::nullopt: no such device.
    std::optional<dev_info> info(uint32_t id);

    void set_params(uint32_t id, const params &values);
    params get_params(uint32_t id);

    // CPUs whose requests come to this queue.
    cpu_set_t affinity(uint32_t id, uint16_t queue);

    // These two wait for the FETCH of every tag. `pid` is the process that has /dev/ublkcN open.
    void start(uint32_t id, int pid, Millis timeout);
    void end_recovery(uint32_t id, int pid, Millis timeout);

    // False while the old server still has hold of the device.
    bool try_start_recovery(uint32_t id);

    // Waits for requests under way. ENODEV when there is no such device.
    void stop(uint32_t id, Millis timeout);
    // EBUSY when somebody has the device open. Needs F_SAFE_STOP_DEV.
    void try_stop(uint32_t id, Millis timeout);
    // Waits until the server has closed /dev/ublkcN. ENODEV when there is no such device.
    void remove(uint32_t id, Millis timeout);

    // Started devices only. Needs F_UPDATE_SIZE.
    void update_size(uint32_t id, uint64_t bytes);
    // Hands the device back to its next server: every queue needs an idle tag in time. Needs F_QUIESCE.
    void quiesce(uint32_t id, Millis timeout);

  private:
    bool is_quiesced(uint32_t id);

    struct Command {
        const char *name;
        uint32_t code;
        uint32_t id = NO_DEVICE;
        uint16_t queue = 0xffff; // for no single queue
        uint64_t data = 0;
        std::span<std::byte> buffer{}; // in and out
        Millis timeout = QUICK;
    };
    // The command's result, 0 or more, or -errno; -ETIME when it did not end in time.
    int run(const Command &wanted);
    void must(const Command &wanted);
    [[noreturn]] static void fail(const Command &wanted, int error);
    io_uring_sqe *next_sqe();
    int wait(uint64_t serial, Millis timeout);

    int fd_ = -1;
    io_uring ring_{};
    uint64_t serial_ = 0;
    bool ioctl_codes_ = true;
    std::optional<uint64_t> features_;
};

// Ids of all ublk devices, ascending, by sysfs.
std::vector<uint32_t> list_devices();

} // namespace us::ublk
