#include "targets/qcow2/bitmaps.h"

#include <set>

namespace us::qcow2 {

namespace {

constexpr size_t FIXED_BYTES = 24;
constexpr uint32_t IN_USE = 1, AUTO = 2, KNOWN_FLAGS = 7;
constexpr uint8_t DIRTY_TRACKING = 1, MAX_GRANULARITY_BITS = 63;

Refusal invalid(const std::string &text) {
    return {Refusal::invalid, "its bitmap directory " + text};
}

} // namespace

std::optional<Refusal> parse_bitmaps(std::span<const std::byte> bytes, const Header &header,
                                     std::vector<Bitmap> &bitmaps) {
    bitmaps.clear();
    std::set<std::string> names;
    uint64_t place = 0;
    for (uint32_t i = 0; i < header.bitmaps->nr_bitmaps; i++) {
        if (bytes.size() < FIXED_BYTES) return invalid("ends in the middle of an entry");
        const std::byte *at = bytes.data();
        uint32_t flags = load<uint32_t>(at + 12), extra = load<uint32_t>(at + 20);
        uint16_t name_bytes = load<uint16_t>(at + 18);
        uint64_t entry = FIXED_BYTES + uint64_t{extra} + name_bytes;
        if (entry > bytes.size()) return invalid("ends in the middle of an entry");
        Bitmap bitmap;
        bitmap.place = place;
        bitmap.table_offset = load<uint64_t>(at);
        bitmap.table_entries = load<uint32_t>(at + 8);
        bitmap.granularity_bits = load<uint8_t>(at + 17);
        bitmap.in_use = flags & IN_USE;
        bitmap.enabled = flags & AUTO;
        bitmap.name.assign(reinterpret_cast<const char *>(at) + FIXED_BYTES + extra, name_bytes);
        if (flags & ~KNOWN_FLAGS || load<uint8_t>(at + 16) != DIRTY_TRACKING || name_bytes == 0 ||
            bitmap.granularity_bits > MAX_GRANULARITY_BITS ||
            bitmap.table_offset % header.cluster_bytes() != 0 || !names.insert(bitmap.name).second)
            return invalid("has an entry that makes no sense");
        bitmaps.push_back(std::move(bitmap));
        uint64_t next = std::min<uint64_t>(round_up(entry, 8), bytes.size());
        bytes = bytes.subspan(next);
        place += next;
    }
    if (!bytes.empty()) return invalid("is longer than its entries");
    return {};
}

void mark_in_use(std::span<std::byte> directory, const Bitmap &bitmap) {
    std::byte *flags = directory.data() + bitmap.place + 12;
    store<uint32_t>(flags, load<uint32_t>(flags) | IN_USE);
}

} // namespace us::qcow2
