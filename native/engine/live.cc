#include "engine/live.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace us {

namespace {

constexpr uint64_t MAGIC = 0x6576696c2d6b6275; // "ubk-live"
constexpr uint32_t VERSION = 5;
constexpr size_t PAGE = 4096; // memory is shared with the kernel in whole pages

struct Header {
    uint64_t magic;
    uint32_t version;
    uint32_t nr_slots;
    uint64_t table_hash;
    uint32_t nr_queues, depth, nr_child_slots, reserved;
    char boot_id[40];
};

[[noreturn]] void fail(const char *what, const std::string &path) {
    throw std::system_error(errno, std::generic_category(), std::string(what) + " " + path);
}

uint64_t slots_for(uint64_t nr_queues, uint64_t depth, uint64_t nr_child_slots) {
    return US_MAX_LAYERS * BACKGROUND_SLOTS + nr_queues * depth + nr_child_slots;
}

void *map(int fd, size_t bytes) {
    return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

} // namespace

struct LiveFile::Layout {
    Header header;
    us_live live;
    ResyncWords resync[US_MAX_LAYERS];
    alignas(64) Slot slots[];

    static size_t bytes(uint32_t nr_slots) {
        return (sizeof(Layout) + nr_slots * sizeof(Slot) + PAGE - 1) / PAGE * PAGE;
    }
};

LiveFile::LiveFile(const std::string &folder, const std::string &boot_id, uint64_t table_hash,
                   uint32_t nr_queues, uint32_t depth, uint32_t nr_child_slots)
    : path_(folder + "/live"), boot_id_(boot_id.substr(0, sizeof(Header::boot_id) - 1)), depth_(depth),
      nr_child_slots_(nr_child_slots), first_child_slot_(request_slot(nr_queues, 0)) {
    look_at_predecessor(table_hash, nr_queues);
    if (!layout_) create_fresh(table_hash, nr_queues);
    inflight_ = std::make_unique<Inflight>(layout_->slots, layout_->header.nr_slots);
}

LiveFile::~LiveFile() {
    if (layout_) munmap(layout_, bytes_);
}

void LiveFile::look_at_predecessor(uint64_t table_hash, uint32_t nr_queues) {
    int fd = open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        if (errno != ENOENT) fail("cannot open", path_);
        return;
    }
    struct stat st {};
    bool sized = fstat(fd, &st) == 0 && static_cast<size_t>(st.st_size) >= sizeof(Layout);
    size_t bytes = static_cast<size_t>(st.st_size);
    void *mapped = sized ? map(fd, bytes) : MAP_FAILED;
    close(fd);
    if (mapped == MAP_FAILED) return;

    auto *layout = static_cast<Layout *>(mapped);
    const Header &h = layout->header;
    bool valid = h.magic == MAGIC && h.version == VERSION &&
                 h.nr_slots == slots_for(h.nr_queues, h.depth, h.nr_child_slots) &&
                 Layout::bytes(h.nr_slots) == bytes &&
                 strncmp(h.boot_id, boot_id_.c_str(), sizeof h.boot_id) == 0;
    bool busy = false;
    for (uint32_t i = 0; valid && i < h.nr_slots; i++)
        busy |= layout->slots[i].sequence.load() != 0 && layout->slots[i].op != US_OP_READ;
    for (uint32_t i = 0; valid && i < US_MAX_LAYERS; i++)
        busy |= layout->resync[i].unrecorded != 0 || layout->resync[i].unsettled != 0;
    bool fits = valid && h.table_hash == table_hash && h.nr_queues == nr_queues && h.depth == depth_ &&
                h.nr_child_slots == nr_child_slots_;
    if (valid && !busy) predecessor_ = Predecessor::idle;
    if (fits) {
        predecessor_ = Predecessor::same;
        layout_ = layout;
        bytes_ = bytes;
    } else {
        munmap(mapped, bytes);
    }
}

void LiveFile::create_fresh(uint64_t table_hash, uint32_t nr_queues) {
    auto nr_slots = static_cast<uint32_t>(slots_for(nr_queues, depth_, nr_child_slots_));
    std::string beside = path_ + ".new";
    int fd = open(beside.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) fail("cannot create", beside);
    bytes_ = Layout::bytes(nr_slots);
    // Allocated, so that a full tmpfs is an error now rather than SIGBUS later.
    int error = posix_fallocate(fd, 0, static_cast<off_t>(bytes_));
    void *mapped = error == 0 ? map(fd, bytes_) : MAP_FAILED;
    if (error == 0 && mapped == MAP_FAILED) error = errno;
    close(fd);
    errno = error;
    if (error != 0) fail("cannot map", beside);

    layout_ = static_cast<Layout *>(mapped);
    Header &h = layout_->header;
    h.magic = MAGIC;
    h.version = VERSION;
    h.nr_slots = nr_slots;
    h.table_hash = table_hash;
    h.nr_queues = nr_queues;
    h.depth = depth_;
    h.nr_child_slots = nr_child_slots_;
    memcpy(h.boot_id, boot_id_.c_str(), boot_id_.size() + 1);
}

void LiveFile::commit() {
    if (predecessor_ == Predecessor::same) return;
    std::string beside = path_ + ".new";
    if (rename(beside.c_str(), path_.c_str()) != 0) fail("cannot rename", beside);
}

us_live &LiveFile::live() const {
    return layout_->live;
}
std::span<std::byte> LiveFile::memory() const {
    return {reinterpret_cast<std::byte *>(layout_), bytes_};
}
size_t LiveFile::live_offset() const {
    return offsetof(Layout, live);
}
size_t LiveFile::slot_offset(uint32_t slot) const {
    return offsetof(Layout, slots) + slot * sizeof(Slot);
}
ResyncWords &LiveFile::resync(uint32_t layer) const {
    return layout_->resync[layer];
}

} // namespace us
