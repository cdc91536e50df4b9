// A format: a layer that keeps tables of its own on its base, and finds its bytes by them. A request is its
// handler's until that has said, by a word, where the bytes are (core/format.h, targets/format_words.h). What
// it needs beyond that:
//
//     open()     before anything is served, children first: the media are looked at, and made where they are
//                blank
//     shut()     once the queues have stopped: brings to the media what only memory knows
//     extents()  what lies where, for whoever asks for the allocation of a layer
#pragma once

#include <optional>
#include <vector>

#include "targets/handler.h"
#include "targets/target.h"

namespace us {

// Bytes of a format with one answer.
struct FormatExtent {
    enum Kind { data, zeros, below } kind = data;
    uint64_t length = 0;
    // below: of this child, at `offset`. Behind the child's end there are zeros.
    uint32_t child = 0;
    uint64_t offset = 0;
};

// Where a format's bytes lie, as far as they lie together.
struct FormatPlace {
    uint64_t length = 0;
    bool on_child = false; // at `offset` of its unit_child()
    uint64_t offset = 0;
};

class Format : public Target, public Handler {
  public:
    using Target::Target;

    us_type core_type() const override { return US_TYPE_FORMAT; }
    void fill(us_layer &, us_link *, const std::vector<uint64_t> &) const override {} // engine/config.cc
    Handler *handler() override { return this; }
    Format *format() override { return this; }

    // How many words are of use to it, about.
    virtual uint64_t wanted_words() const = 0;
    // The child that its units lie on.
    virtual uint32_t unit_child() const = 0;
    // How many of its children, from the first one on, a flush is for.
    virtual uint32_t flush_children() const = 0;

    // On a queue. Why it cannot be served, if it cannot.
    virtual Task<std::optional<ConfigError>> open(Executor &executor) = 0;
    // On a queue that has nothing else to do. 0 or -errno: then the next server finds all of it nonetheless.
    virtual Task<int> shut(Executor &executor) = 0;

    // Of a prefix of [offset, offset + length); never nothing. Waits for a queue: any other thread.
    virtual std::vector<FormatExtent> extents(uint64_t offset, uint64_t length) = 0;

    // Of a prefix of [offset, offset + length). 0 or -errno.
    virtual Task<int> look_up(Executor &executor, uint64_t offset, uint64_t length, FormatPlace &place) = 0;

    // For the control socket: what it answers about its snapshots. One thread, which must not wait.
    virtual nlohmann::json snapshots(const nlohmann::json &request) = 0;

    // Its own requests on a base with mirrors have slots of their own, whose root is the base; what clients
    // wrote by its words is found by look_up().
    Task<int> settle(Executor &, LeafIo, const Run &) override { co_return 0; }
    void start_background(Executor &) override {}
    void close(const std::vector<const Leaf *> &) override {}
    std::string readd(const std::string &) override { return "layer \"" + config().name + "\" is no mirror"; }
};

} // namespace us
