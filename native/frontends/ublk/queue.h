// One hardware queue of a ublk device: a thread that fetches requests, hands them to the engine, and commits
// results.
//
//   tag    ─FETCH─▶ [ with the driver ] ─CQE 0─▶ [ in the engine ] ─done─▶ COMMIT_AND_FETCH ─▶ [ with the
//   driver ]
//                          │                                 zero copy whose automatic registration failed:
//                          └─CQE ABORT─▶ gone                REGISTER_IO_BUF before, UNREGISTER_IO_BUF after
//
// With a loop in the kernel (kernel_loop.h) fetching and committing is the loop's, and this thread carries
// out what it passes on:
//
//   tag    [ in the loop ] ─MSG_RING─▶ REGISTER_IO_BUF ─▶ [ in the engine ] ─▶ UNREGISTER_IO_BUF ─MSG_RING─▶
//   [ in the loop ]
//
// Once stopping, requests that still come stay unanswered: the driver issues them to the next server again
// (UBLK_F_USER_RECOVERY_REISSUE).
#pragma once

#include <sched.h>

#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "engine/counters.h"
#include "engine/graph.h"
#include "engine/queue.h"
#include "frontends/ublk/kernel_loop.h"
#include "frontends/ublk/uapi.h"

namespace us::ublk {

// What the queues of one device have in common.
struct DeviceFacts {
    int char_fd = -1; // /dev/ublkcN
    dev_info info{};
    uint32_t root = 0; // index of the exported layer
    uint64_t size_bytes = 0;
    bool read_only = false;

    bool zero_copy() const { return (info.flags & F_AUTO_BUF_REG) != 0; }
    bool ioctl_codes() const { return (info.flags & F_CMD_IOCTL_ENCODE) != 0; }
};

class DeviceQueue {
  public:
    // `aborted` runs on the queue's thread when the driver takes the queue back. `facts` must outlive the
    // queue.
    DeviceQueue(Graph &graph, const DeviceFacts &facts, uint16_t index, const cpu_set_t &cpus,
                std::function<void()> aborted);
    ~DeviceQueue();
    DeviceQueue(const DeviceQueue &) = delete;
    DeviceQueue &operator=(const DeviceQueue &) = delete;

    // Before prepare(), with an open graph and all rights: puts a loop into the kernel. Throws ProgramRefused
    // or std::system_error; the queue then is as it was.
    KernelLoop &put_into_kernel(Polling polling);
    // After a refusal elsewhere.
    void take_out_of_kernel();

    // Starts the thread: ring, memory, and on queue 0 Graph::settle(). The future is ready when all that is
    // done, or holds what went wrong.
    std::future<void> prepare();
    // Fetches every tag and serves. Once, after prepare() has succeeded.
    void serve();
    // Any thread, any number of times: what is in flight ends, nothing new begins.
    void stop();
    // Until the thread has ended.
    void join();

    // nullptr: the native engine serves.
    const KernelLoop *loop() const { return loop_.get(); }

    // Valid after prepare() has succeeded.
    Queue &engine() { return *engine_; }
    // Requests whose buffer the driver could not register by itself.
    uint64_t registered_by_command() const { return registered_by_command_.get(); }

  private:
    struct Tag;
    struct Note : Completion {
        DeviceQueue *queue = nullptr;
    };

    void run(std::promise<void> prepared);
    void map_descriptors();
    void set_up_tags();
    void set_up();
    void passed_on(Tag &tag);
    void register_buffer(Tag &tag, int32_t place);
    void fetched(Tag &tag, int32_t result);
    void begin(Tag &tag);
    void submit(Tag &tag);
    void done(Tag &tag);
    void commit(Tag &tag);
    io_uring_sqe *command(Completion &completion, uint32_t code, const Tag &tag, int32_t result,
                          uint64_t addr);
    void send_fetch(Tag &tag, uint32_t code, int32_t result);
    std::byte *buffer(const Tag &tag) const;
    [[noreturn]] void lost(const char *what, const Tag &tag, int32_t result) const;

    Graph &graph_;
    const DeviceFacts &facts_;
    uint16_t index_;
    cpu_set_t cpus_;
    std::function<void()> aborted_;

    std::unique_ptr<Queue> engine_;
    const io_desc *descriptors_ = nullptr;
    size_t descriptors_bytes_ = 0;
    std::byte *buffers_ = nullptr; // copy mode: max_io_buf_bytes for each tag
    size_t buffers_bytes_ = 0;
    std::vector<Tag> tags_;
    std::unique_ptr<KernelLoop> loop_;
    Note aborted_note_, crowd_note_; // from the loop
    bool stopping_ = false;          // of the queue's thread
    bool loop_told_ = false;         // to stop; the same
    Counter registered_by_command_;

    std::promise<bool> go_; // true: serve, false: end
    bool went_ = false;
    std::thread thread_;
};

} // namespace us::ublk
