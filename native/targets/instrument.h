// An instrument: a layer for tests that does something to some requests of its first child and passes the
// others on. The mapping is core/instrument.h; what a subclass adds is what happens to a request that is
// looked at: Handler::execute().
//
//   params ──configure()──▶ settings of the subclass, and a Watch ──▶ live words: which requests come here at
//   all
//
// Settings may change while IO runs. Faults are a matter of the settings and of the sequence of requests
// alone.
#pragma once

#include <mutex>

#include "targets/handler.h"
#include "targets/target.h"

namespace us {

class Instrument : public Target, public Handler {
  public:
    using Target::Target;

    us_type core_type() const override { return US_TYPE_INSTRUMENT; }
    void fill(us_layer &layer, us_link *links, const std::vector<uint64_t> &sizes) const override;
    Handler *handler() override { return this; }
    Instrument *instrument() override { return this; }

    void load(HandlerContext context) override;
    std::string identity() const override { return identity_; }
    Task<int> settle(Executor &executor, LeafIo io, const Run &run) override; // never asked: its child is
    void start_background(Executor &) override {}
    void close(const std::vector<const Leaf *> &) override {}
    std::string readd(const std::string &) override;

    // { layer, settings, counts }: docs of the control socket. Any thread.
    nlohmann::json status() const override;

    // Any thread: all params anew, as in the table. Throws ConfigError, and then nothing has changed.
    void set(const nlohmann::json &params);

    // Whether it looks at the bytes of requests, or changes them: they then have to be in the server's
    // memory.
    virtual bool needs_bytes() const { return false; }
    // Whether it does so of nearly all requests from the beginning: a device then had better copy them, than
    // have those that are looked at brought here one by one.
    virtual bool needs_all_bytes() const { return false; }

  protected:
    // What is looked at: bit OP of ops; bytes from start to end.
    struct Watch {
        uint32_t ops = 0;
        uint64_t start = 0, end = UINT64_MAX;

        bool touches(const LeafIo &io) const;
    };

    // These operations, in the range of params startBytes and lengthBytes; without them everywhere.
    static Watch watch_of(uint32_t ops, const nlohmann::json &params);

    // Takes the settings over, all or none. One call at a time; requests run beside it. Throws ConfigError.
    virtual Watch configure(const nlohmann::json &params) = 0;
    // Name → how often, since the server started.
    virtual nlohmann::json counts() const = 0;
    // What status() calls the settings: the params as they were set, or as they are by now.
    virtual nlohmann::json settings(const nlohmann::json &params) const { return params; }

    // First of all in load(). Throws ConfigError.
    void adopt(HandlerContext context);

    // Untouched, to the first child.
    Task<IoResult> pass(Executor &executor, const LeafIo &io, const Run &run) const {
        return executor.execute(config().children[0], io, run);
    }
    const HandlerContext &context() const { return context_; }

    // Any thread: looks at these requests from now on. set() does it with what configure() says.
    void watch(const Watch &watch);

  private:
    HandlerContext context_;
    std::string identity_;
    mutable std::mutex mutex_; // guards params_, and one configure() against another
    nlohmann::json params_;
};

} // namespace us
