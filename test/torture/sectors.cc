#include "sectors.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "prng.h"

namespace {

// Four lanes, so that the multiplications overlap.
uint64_t hash(const std::byte *bytes) {
    uint64_t lanes[4] = {1, 2, 3, 4};
    for (size_t at = 0; at < SECTOR; at += sizeof lanes) {
        uint64_t words[4];
        memcpy(words, bytes + at, sizeof words);
        for (int i = 0; i < 4; i++)
            lanes[i] = (lanes[i] ^ words[i]) * 0x9e3779b97f4a7c15 + (lanes[i] >> 29);
    }
    return mix(mix(lanes[0], lanes[1]), mix(lanes[2], lanes[3]));
}

} // namespace

Sectors &Sectors::instance() {
    static Sectors sectors;
    return sectors;
}

void Sectors::forget_all() {
    all_.clear();
    by_hash_.clear();
    std::array<std::byte, SECTOR> zeros{};
    number(zeros.data());
}

Content Sectors::number(const std::byte *bytes) {
    auto [entry, fresh] = by_hash_.try_emplace(hash(bytes), static_cast<Content>(all_.size()));
    if (fresh) {
        memcpy(all_.emplace_back().data(), bytes, SECTOR);
    } else if (memcmp(all_[entry->second].data(), bytes, SECTOR) != 0) {
        fprintf(stderr, "torture: two sectors with one hash\n");
        abort();
    }
    return entry->second;
}
