// The layer qcow2: an image of QEMU's format on its base.
//
//     children   base, the backing layer (params.backing), the data file (params.dataFile)
//     params     create, overwrite, cacheBytes; and what an image has to be, or is made with: clusterBytes,
//                refcountBits, version, extendedL2, compression, preallocation, lazyRefcounts
//
// What outlives the server, beside the image:
//
//     run directory     qcow2-LAYER         tables that are not written yet; gone after an orderly end
//     state directory   qcow2-LAYER.json    whether it was made, ended in order, and may have leaks;
//                                           and before that, on which base the making was begun
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "targets/format.h"
#include "targets/format_words.h"
#include "targets/qcow2/compact_verbs.h"
#include "targets/qcow2/create.h"
#include "targets/qcow2/image.h"
#include "targets/qcow2/layer_media.h"
#include "targets/qcow2/snapshot_verbs.h"

namespace us {

class Qcow2 : public Format {
  public:
    using Format::Format;
    ~Qcow2() override;

    void load(HandlerContext context) override;
    uint64_t wanted_words() const override;
    uint32_t unit_child() const override;
    uint32_t flush_children() const override { return unit_child() + 1; }
    Task<std::optional<ConfigError>> open(Executor &executor) override;
    Task<int> shut(Executor &executor) override;
    std::string identity() const override { return "qcow2 on " + base_identity_; }
    Task<IoResult> execute(Executor &executor, LeafIo io, const Run &run) override;
    std::vector<FormatExtent> extents(uint64_t offset, uint64_t length) override;
    Task<int> look_up(Executor &executor, uint64_t offset, uint64_t length, FormatPlace &place) override;
    nlohmann::json snapshots(const nlohmann::json &request) override;
    nlohmann::json status() const override;

  private:
    using Trouble = std::optional<ConfigError>;

    // ---- qcow2_open.cc
    Trouble trouble(const std::string &code, const std::string &message) const;
    Trouble failed(const char *what, int error) const;
    qcow2::LayerPlace place_of(uint32_t child) const;
    Task<Trouble> open_media(Executor &executor);
    Task<int> is_blank(bool &blank);
    Task<Trouble> make();
    Task<int> preallocate(const qcow2::Range &data);
    Trouble make_options(qcow2::CreateOptions &options) const;
    Trouble compare(const qcow2::Header &header) const;
    Trouble compare_file(const std::string &what, const std::string &option, const std::string &name,
                         uint32_t child) const;
    Task<Trouble> open_image(Executor &executor, qcow2::Header header);
    Task<Trouble> grow(Executor &executor);
    int hold(const qcow2::Header &header, bool &taken_over);
    Task<Trouble> repair_image(qcow2::Header &header);
    int record(bool open);
    int write_state(const nlohmann::json &text);

    Task<int> change(Executor &executor, const LeafIo &io);
    Task<int> flush(Executor &executor, const LeafIo &io, const Run &run);
    Task<void> look(Executor &executor, uint64_t offset, uint64_t length,
                    std::shared_ptr<struct ExtentsPromise> promise);

    HandlerContext context_;
    std::string base_identity_;
    int run_dir_ = -1;
    std::string unfinished_; // the base on which an image was begun to be made
    bool made_before_ = false, ended_in_order_ = true;
    bool leaks_ = false; // clusters that nobody uses may be taken
    std::unique_ptr<qcow2::LayerMedia> base_, backing_, data_;
    uint32_t data_child_ = 0;
    uint64_t leaves_below_ = 0; // bit L: leaf L is one that a flush is for
    std::unique_ptr<FormatWords> words_;
    qcow2::Inflater inflater_;
    std::unique_ptr<qcow2::Image> image_;
    // image_ is there, and stays: the control socket asks before.
    std::atomic<bool> opened_{false};
    std::optional<qcow2::SnapshotVerbs> snapshots_; // once it is served
    std::optional<qcow2::CompactVerbs> compact_;
};

} // namespace us
