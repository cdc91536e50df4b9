#include "targets/logwrites/held.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace us {

namespace {

constexpr uint64_t PAGE = 4096, DATA_START = uint64_t{64} << 30;
constexpr uint64_t HEAD_MAGIC = 0x646c6568'6b6c6275; // "ublkheld"

struct Head {
    uint64_t magic;
    char owner[PAGE - 8];
};
static_assert(sizeof(Head) == PAGE);

struct Slot {
    uint64_t used;
    uint64_t completed, number; // 0: not yet
    uint64_t zeroes;
    uint64_t data, bytes;
    logformat::Entry entry;
    char text[512];
    char reserved[1024 - 512 - sizeof(logformat::Entry) - 48];
};
static_assert(sizeof(Slot) == 1024);

// Slots count from 1.
uint64_t place_of(uint64_t slot) {
    return PAGE + (slot - 1) * sizeof(Slot);
}

uint64_t whole_pages(uint64_t bytes) {
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

int put(int fd, const void *data, uint64_t bytes, uint64_t offset) {
    ssize_t n = pwrite(fd, data, bytes, static_cast<off_t>(offset));
    if (n < 0) return -errno;
    return static_cast<uint64_t>(n) == bytes ? 0 : -ENOSPC;
}

Head head_of(const std::string &owner) {
    Head head{HEAD_MAGIC, {}};
    memcpy(head.owner, owner.data(), std::min(owner.size(), sizeof head.owner - 1));
    return head;
}

} // namespace

HeldWrites::~HeldWrites() {
    if (fd_ >= 0) close(fd_);
}

bool HeldWrites::belongs_to(const std::string &owner) const {
    Head head, wanted = head_of(owner);
    return pread(fd_, &head, sizeof head, 0) == sizeof head && memcmp(&head, &wanted, sizeof head) == 0;
}

int HeldWrites::start_anew(const std::string &owner) {
    Head head = head_of(owner);
    if (ftruncate(fd_, 0) != 0) return -errno;
    return put(fd_, &head, sizeof head, 0);
}

int HeldWrites::open(const std::string &path, const std::string &owner) {
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd_ < 0) return -errno;
    data_end_ = DATA_START;
    return belongs_to(owner) ? 0 : start_anew(owner);
}

std::vector<HeldWrite> HeldWrites::left_behind(uint64_t nr_logged) {
    std::vector<HeldWrite> found;
    std::vector<HeldWrite> logged;
    Slot slot;
    for (uint64_t i = 1; pread(fd_, &slot, sizeof slot, static_cast<off_t>(place_of(i))) == sizeof slot;
         i++) {
        nr_slots_ = i;
        if (slot.used == 0) {
            free_slots_.push_back(i);
            if (i * sizeof(Slot) % PAGE != 0) continue;
            // Slots end with the first page that was never written.
            off_t next = lseek(fd_, static_cast<off_t>(place_of(i + 1)), SEEK_DATA);
            if (next < 0 || static_cast<uint64_t>(next) >= DATA_START) break;
            continue;
        }
        slot.text[sizeof slot.text - 1] = '\0';
        HeldWrite write{slot.entry, slot.zeroes != 0, slot.text, slot.completed, i, slot.data, slot.bytes};
        nr_used_++;
        bytes_ += write.bytes;
        completions_ = std::max(completions_, write.completed);
        data_end_ = std::max(data_end_, write.data + whole_pages(write.bytes));
        bool in_log = slot.number != 0 && slot.number <= nr_logged;
        (in_log ? logged : found).push_back(std::move(write));
    }
    for (const HeldWrite &write : logged)
        drop(write);
    std::stable_sort(found.begin(), found.end(), [](const HeldWrite &a, const HeldWrite &b) {
        return a.completed - 1 < b.completed - 1; // those that have not completed come last
    });
    return found;
}

void HeldWrites::take_place(HeldWrite &write) {
    std::lock_guard lock(mutex_);
    if (nr_used_ == 0) data_end_ = DATA_START;
    write.data = data_end_;
    data_end_ += whole_pages(write.bytes);
    bytes_ += write.bytes;
    nr_used_++;
    if (free_slots_.empty()) free_slots_.push_back(++nr_slots_);
    write.slot = free_slots_.back();
    free_slots_.pop_back();
}

void HeldWrites::give_place(const HeldWrite &write) {
    std::lock_guard lock(mutex_);
    free_slots_.push_back(write.slot);
    bytes_ -= write.bytes;
    nr_used_--;
}

uint64_t HeldWrites::bytes() const {
    std::lock_guard lock(mutex_);
    return bytes_;
}

int HeldWrites::add(HeldWrite &write, const std::byte *data, uint64_t bytes) {
    write.bytes = bytes;
    take_place(write);
    Slot slot{1, 0, 0, write.zeroes, write.data, bytes, write.entry, {}, {}};
    memcpy(slot.text, write.text.data(), std::min(write.text.size(), sizeof slot.text - 1));
    int error = bytes > 0 ? put(fd_, data, bytes, write.data) : 0;
    if (error == 0) error = put(fd_, &slot, sizeof slot, place_of(write.slot));
    if (error == 0) return 0;
    drop(write);
    write.slot = 0;
    return error;
}

int HeldWrites::complete(HeldWrite &write) {
    {
        std::lock_guard lock(mutex_);
        write.completed = ++completions_;
    }
    return put(fd_, &write.completed, sizeof write.completed,
               place_of(write.slot) + offsetof(Slot, completed));
}

int HeldWrites::placed(const HeldWrite &write, uint64_t number) {
    if (write.slot == 0) return 0;
    return put(fd_, &number, sizeof number, place_of(write.slot) + offsetof(Slot, number));
}

int HeldWrites::drop(const HeldWrite &write) {
    if (write.slot == 0) return 0;
    uint64_t used = 0;
    int error = put(fd_, &used, sizeof used, place_of(write.slot));
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    auto start = static_cast<off_t>(write.data), length = static_cast<off_t>(whole_pages(write.bytes));
    if (length > 0 && fallocate(fd_, mode, start, length) != 0 && error == 0) error = -errno;
    give_place(write);
    return error;
}

int HeldWrites::read(const HeldWrite &write, uint64_t offset, std::byte *out, uint64_t bytes) const {
    ssize_t n = pread(fd_, out, bytes, static_cast<off_t>(write.data + offset));
    return n < 0 ? -errno : static_cast<uint64_t>(n) == bytes ? 0 : -EIO;
}

} // namespace us
