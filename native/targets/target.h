// What the engine knows of a layer type. One Target per layer of the table; a leaf is a Leaf too.
//
//     us_type core    which mapping step it has                           core/map.h
//     Leaf            how an operation reaches the media                  this file
//     Handler         what takes over when the step says REDIRECT         targets/handler.h
//     Format          one that keeps tables of its own on the media       targets/format.h
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/table.h"
#include "targets/config_error.h"
#include "targets/extent.h"
#include "targets/geometry.h"
#include "targets/io.h"

struct io_uring_sqe;

namespace us {

class Format;
class Handler;
class Instrument;
class Leaf;

// What a target is told of its layer, from config.json.
struct LayerConfig {
    std::string name;
    uint32_t index = 0;
    uint64_t size = 0; // bytes
    bool read_only = false;
    Geometry geometry;
    std::vector<uint32_t> children;
    nlohmann::json params;
    std::string path;             // leaves: resolved absolute path, empty when the type has none
    bool direct_preferred = true; // what `direct: auto` means with this frontend
};

class Target {
  public:
    explicit Target(LayerConfig config) : config_(std::move(config)) {}
    virtual ~Target() = default;
    Target(const Target &) = delete;
    Target &operator=(const Target &) = delete;

    const LayerConfig &config() const { return config_; }

    virtual us_type core_type() const = 0;

    // Fills params and, for linear, the starts of its links. sizes: of the children. Throws ConfigError when
    // the children cannot carry this layer: the walk relies on every range lying inside its layer.
    virtual void fill(us_layer &layer, us_link *links, const std::vector<uint64_t> &sizes) const = 0;

    virtual Leaf *leaf() { return nullptr; }
    virtual Handler *handler() { return nullptr; }
    virtual Instrument *instrument() { return nullptr; }
    virtual Format *format() { return nullptr; }

  protected:
    [[noreturn]] void refuse(const std::string &message) const {
        throw ConfigError("server-start", "layer \"" + config_.name + "\": " + message, config_.name);
    }

  private:
    LayerConfig config_;
};

// How long and where a leaf waits for a predecessor to let go of the media.
struct OpenContext {
    std::string boot_id;                             // /proc/sys/kernel/random/boot_id
    uint64_t lock_wait_ms = 0;                       // at most
    std::function<void(const std::string &)> notice; // one line for the log: what it waits for, what it found
};

// How a program in the kernel reaches a leaf's media by a registered buffer.
struct KernelPath {
    bool stores = true;       // false: reads are zeros from fd(), and nothing else has an effect
    bool flush = true;        // false: nothing to be made durable
    uint32_t async_bytes = 0; // writes of this length and more go to a worker of the kernel's; 0: never
};

class Leaf : public Target {
  public:
    using Target::Target;

    void fill(us_layer &, us_link *, const std::vector<uint64_t> &) const override {}
    Leaf *leaf() override { return this; }

    // Opens, checks and locks the media. Waits for the lock: a dead predecessor's requests in flight keep it.
    // Throws ConfigError.
    virtual void open(const OpenContext &context) = 0;
    virtual void close() = 0;

    // To be registered with every ring; -1 for none.
    virtual int fd() const = 0;

    // Whether this operation is to be done by run(), on the queue thread, rather than by the ring.
    virtual bool runs_inline(const LeafIo &io) const = 0;

    // Does it now, as far as one system call goes. Bytes done, 0 for success of an operation without data, or
    // -errno, as a CQE would say it.
    virtual int64_t run(const LeafIo &io) = 0;

    // Fills an entry. file is the index of fd() among the ring's registered files.
    virtual void prepare(io_uring_sqe *sqe, int file, const LeafIo &io) const = 0;

    // Called with the error of a flush or of a durable write that failed.
    virtual void sync_failed() {}

    // Whether a failure is told once only, so that the leaf has to remember it. Valid once open.
    virtual bool remembers_sync_failures() const { return false; }

    // The error that every flush must report from now on, 0 for none.
    virtual int sync_error() const { return 0; }

    // All content is about to be written again: an old failure of a flush has no meaning any more.
    virtual void forget_sync_error() {}

    // Makes what was written durable; blocks. 0 or -errno.
    virtual int sync_now() { return 0; }

    // Whether a registered buffer reaches the media without help of the queue thread.
    virtual bool zero_copy() const = 0;

    virtual KernelPath kernel_path() const { return {}; }

    // Content is gone after a reboot.
    virtual bool is_volatile() const { return false; }

    // Whether the media may be shorter than the layer: they grow as they are written, and read zeros past
    // length().
    virtual bool grows() const { return false; }
    // Bytes of the media now. Valid once open.
    virtual uint64_t length() const { return config().size; }

    // Names the media itself, so that a replaced file or disk is not taken for the old one. Valid once open.
    virtual std::string identity() const = 0;

    // First run of bytes with one answer, beginning at offset; at most length bytes. May block on metadata.
    virtual Extent extent(uint64_t offset, uint64_t length) const = 0;

    // The path for messages.
    const std::string &path() const { return config().path; }
};

} // namespace us
