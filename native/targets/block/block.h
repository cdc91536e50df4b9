// block: a block device, claimed exclusively for writing.
#pragma once

#include "targets/fd_leaf.h"

namespace us {

class BlockLeaf : public FdLeaf {
  public:
    using FdLeaf::FdLeaf;

    us_type core_type() const override { return US_TYPE_BLOCK; }
    void open(const OpenContext &context) override;

  private:
    void identify();
};

} // namespace us
