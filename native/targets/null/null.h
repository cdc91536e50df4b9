// null: reads are zeros, writes go nowhere. For measuring what everything else costs.
#pragma once

#include "targets/target.h"

namespace us {

class NullLeaf : public Leaf {
  public:
    using Leaf::Leaf;
    ~NullLeaf() override { close(); }

    us_type core_type() const override { return US_TYPE_NULL; }
    void open(const OpenContext &context) override;
    void close() override;
    int fd() const override { return zero_fd_; }
    bool runs_inline(const LeafIo &io) const override;
    int64_t run(const LeafIo &io) override;
    void prepare(io_uring_sqe *sqe, int file, const LeafIo &io) const override;
    bool zero_copy() const override { return true; }
    KernelPath kernel_path() const override { return {.stores = false, .flush = false}; }
    std::string identity() const override { return "null"; }
    Extent extent(uint64_t, uint64_t length) const override { return {length, EXTENT_HOLE | EXTENT_ZERO}; }

  private:
    int zero_fd_ = -1; // /dev/zero: fills registered buffers, which this process cannot see
};

} // namespace us
