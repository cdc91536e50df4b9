#include "disk.h"

#include <algorithm>
#include <cstring>

void Disk::read(uint64_t offset, uint64_t length, std::byte *out) const {
    for (uint64_t done = 0; done < length;) {
        uint64_t at = (offset + done) % SECTOR, n = std::min(SECTOR - at, length - done);
        memcpy(out + done, Sectors::instance().bytes(cache[(offset + done) / SECTOR]) + at, n);
        done += n;
    }
}

void Disk::put(uint64_t sector, Content content, uint64_t request) {
    cache[sector] = content;
    length_ = std::max(length_, (sector + 1) * SECTOR);
    unflushed.push_back({static_cast<uint32_t>(sector), content, request});
}

void Disk::keep(uint64_t sector, Content content) {
    durable[sector] = content;
    durable_length_ = std::max(durable_length_, (sector + 1) * SECTOR);
}

void Disk::write(uint64_t offset, uint64_t length, const std::byte *data, uint64_t request) {
    for (uint64_t done = 0; done < length;) {
        uint64_t sector = (offset + done) / SECTOR, at = (offset + done) % SECTOR;
        uint64_t n = std::min(SECTOR - at, length - done);
        if (n == SECTOR) {
            put(sector, Sectors::instance().number(data + done), request);
        } else {
            std::byte whole[SECTOR];
            memcpy(whole, Sectors::instance().bytes(cache[sector]), SECTOR);
            memcpy(whole + at, data + done, n);
            put(sector, Sectors::instance().number(whole), request);
        }
        done += n;
    }
}

// Never longer by it.
void Disk::zero(uint64_t offset, uint64_t length, uint64_t request) {
    std::byte zeros[SECTOR]{};
    length = offset < length_ ? std::min(length, length_ - offset) : 0;
    for (uint64_t done = 0; done < length;) {
        uint64_t n = std::min(SECTOR - (offset + done) % SECTOR, length - done);
        write(offset + done, n, zeros, request);
        done += n;
    }
}

void Disk::make_durable(uint64_t offset, uint64_t length) {
    uint64_t first = offset / SECTOR, end = (offset + length + SECTOR - 1) / SECTOR;
    for (uint64_t sector = first; sector < end; sector++)
        keep(sector, cache[sector]);
    std::erase_if(unflushed, [&](const Written &w) { return w.sector >= first && w.sector < end; });
}

void Disk::flush(uint64_t limit) {
    auto later = std::find_if(unflushed.begin(), unflushed.end(),
                              [&](const Written &w) { return w.request >= limit; });
    for (auto w = unflushed.begin(); w != later; ++w)
        keep(w->sector, w->content);
    unflushed.erase(unflushed.begin(), later);
}

void Disk::cut_power(Prng &prng) {
    enum { nothing, all, sectors, requests, prefix, nr_ways };
    uint64_t way = prng.below(nr_ways), salt = prng.next();
    size_t end = way == prefix && !unflushed.empty() ? prng.below(unflushed.size() + 1) : unflushed.size();
    for (size_t i = 0; i < end; i++) {
        const Written &w = unflushed[i];
        bool kept = way == all || way == prefix || (way == sectors && mix(salt, i) % 2) ||
                    (way == requests && mix(salt, w.request) % 2);
        // In any order: an older version may have overtaken a newer one on its way to the media.
        if (kept && way == sectors && mix(salt + 1, i) % 8 == 0 && i + 1 < end) continue;
        if (kept) keep(w.sector, w.content);
    }
    unflushed.clear();
    cache = durable;
    length_ = durable_length_;
    owes_error = false;
}
