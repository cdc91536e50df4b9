// file: a regular file, byte for byte.  memory: the same on a tmpfs, lost at reboot.
#pragma once

#include "targets/fd_leaf.h"
#include "targets/file/room.h"

namespace us {

class FileLeaf : public FdLeaf {
  public:
    FileLeaf(LayerConfig config, bool memory)
        : FdLeaf(std::move(config)), memory_(memory), grows_(this->config().params.value("grows", false)) {}

    us_type core_type() const override { return US_TYPE_FILE; }
    ~FileLeaf() override { close(); }

    void open(const OpenContext &context) override;
    void close() override;
    void prepare(io_uring_sqe *sqe, int file, const LeafIo &io) const override;
    bool is_volatile() const override { return memory_; }
    bool grows() const override { return grows_; }
    uint64_t length() const override;

  private:
    void check_size() const;
    void choose_direct();
    void identify(const OpenContext &context);

    bool memory_, grows_;
    mutable Room room_; // of a file that grows, and is not in the page cache
};

} // namespace us
