// The live file: words that change while IO runs, and what is in flight. Mapped, so that they outlive the
// server.
//
//     header | us_live | ResyncWords per layer | Slot × (BACKGROUND_SLOTS per layer + queues × depth + child
//     slots)
//
// A file is valid only under its own name: a fresh one is filled beside it and renamed by commit().
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "core/table.h"
#include "targets/handler.h"
#include "targets/inflight.h"

namespace us {

class LiveFile {
  public:
    // Slots for nr_queues × depth requests of the table that table_hash names, and as many as its formats
    // need for their children. Throws std::system_error.
    LiveFile(const std::string &folder, const std::string &boot_id, uint64_t table_hash, uint32_t nr_queues,
             uint32_t depth, uint32_t nr_child_slots);
    ~LiveFile();
    LiveFile(const LiveFile &) = delete;
    LiveFile &operator=(const LiveFile &) = delete;

    // With `same` this is the predecessor's own file.
    Predecessor predecessor() const { return predecessor_; }

    // From now on a successor will believe this file. Throws std::system_error.
    void commit();

    us_live &live() const;
    // The whole of it, in whole pages, and where things lie in it: for a program in the kernel.
    std::span<std::byte> memory() const;
    size_t live_offset() const;
    size_t slot_offset(uint32_t slot) const;
    ResyncWords &resync(uint32_t layer) const;
    Inflight &inflight() const { return *inflight_; }

    uint32_t background_slot(uint32_t layer) const { return layer * BACKGROUND_SLOTS; }
    uint32_t request_slot(uint32_t queue, uint32_t tag) const {
        return US_MAX_LAYERS * BACKGROUND_SLOTS + queue * depth_ + tag;
    }
    uint32_t child_slot(uint32_t index) const { return first_child_slot_ + index; }

  private:
    struct Layout;

    void look_at_predecessor(uint64_t table_hash, uint32_t nr_queues);
    void create_fresh(uint64_t table_hash, uint32_t nr_queues);

    std::string path_, boot_id_;
    uint32_t depth_, nr_child_slots_, first_child_slot_;
    Layout *layout_ = nullptr;
    size_t bytes_ = 0;
    Predecessor predecessor_ = Predecessor::unknown;
    std::unique_ptr<Inflight> inflight_;
};

} // namespace us
