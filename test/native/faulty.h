// A leaf that can be told to fail: in place of a real one, which does what is let through.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>

#include "engine/graph_impl.h"
#include "targets/target.h"

class FaultyLeaf : public us::Leaf {
  public:
    // Before an operation: 0 to let it through, or -errno. Runs on queue threads.
    using Fault = std::function<int(const us::LeafIo &)>;

    // Takes the place of layer `name` of a graph that is not open yet.
    static FaultyLeaf &install(us::Graph &graph, const std::string &name) {
        us::Graph::Impl &impl = graph.impl();
        for (auto &target : impl.targets) {
            if (target->config().name != name) continue;
            auto faulty = std::make_unique<FaultyLeaf>(std::move(target));
            FaultyLeaf &reference = *faulty;
            impl.leaves[reference.config().index] = &reference;
            target = std::move(faulty);
            return reference;
        }
        abort();
    }

    explicit FaultyLeaf(std::unique_ptr<us::Target> real)
        : Leaf(real->config()), owned_(std::move(real)), real_(*owned_->leaf()) {}

    void fail(Fault fault) {
        std::lock_guard lock(mutex_);
        fault_ = std::move(fault);
    }
    void fail_all(us_op op, int error) {
        fail([=](const us::LeafIo &io) { return io.op == op ? error : 0; });
    }

    // At most so many bytes at once.
    void shorten(uint64_t bytes) { longest_ = bytes; }

    us_type core_type() const override { return owned_->core_type(); }
    void open(const us::OpenContext &context) override { real_.open(context); }
    void close() override { real_.close(); }
    int fd() const override { return real_.fd(); }
    bool runs_inline(const us::LeafIo &) const override { return true; }
    int64_t run(const us::LeafIo &io) override {
        Fault fault;
        {
            std::lock_guard lock(mutex_);
            fault = fault_;
        }
        int error = fault ? fault(io) : 0;
        if (error) return error;
        us::LeafIo part = io;
        bool data = io.op == US_OP_READ || io.op == US_OP_WRITE;
        if (data) part.length = std::min(part.length, longest_.load());
        return real_.run(part);
    }
    void prepare(io_uring_sqe *, int, const us::LeafIo &) const override { abort(); }
    bool zero_copy() const override { return false; }
    std::string identity() const override { return real_.identity(); }
    us::Extent extent(uint64_t offset, uint64_t length) const override {
        return real_.extent(offset, length);
    }
    int sync_now() override { return real_.sync_now(); }
    void sync_failed() override { real_.sync_failed(); }
    int sync_error() const override { return real_.sync_error(); }
    void forget_sync_error() override { real_.forget_sync_error(); }

  private:
    std::unique_ptr<us::Target> owned_;
    us::Leaf &real_;
    std::atomic<uint64_t> longest_{UINT64_MAX};
    std::mutex mutex_;
    Fault fault_;
};
