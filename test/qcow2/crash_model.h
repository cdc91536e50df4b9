// What is to be expected of an image: of every sector of its disk, and of its snapshots.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <string>

#include "sim.h"

// For what is made before anything can go wrong.
class GrowingMemory : public us::qcow2::Media {
  public:
    Bytes bytes;
    us::Task<int> read(uint64_t offset, std::span<std::byte> into) override {
        for (size_t i = 0; i < into.size(); i++)
            into[i] = offset + i < bytes.size() ? bytes[offset + i] : std::byte{0};
        co_return 0;
    }
    us::Task<int> write(uint64_t offset, std::span<const std::byte> from) override {
        if (bytes.size() < offset + from.size()) bytes.resize(offset + from.size());
        std::copy(from.begin(), from.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
        co_return 0;
    }
    us::Task<int> flush() override { co_return 0; }
    uint64_t size() const override { return bytes.size(); }
};

// A sector of the guest is one number, sixty-four times.
inline Bytes sectors_of(uint64_t value, uint64_t count) {
    Bytes bytes(count * SECTOR);
    for (size_t i = 0; i < bytes.size(); i += 8)
        memcpy(bytes.data() + i, &value, 8);
    return bytes;
}
// What it reads as; nothing when it is torn.
inline std::optional<uint64_t> value_of(const std::byte *sector) {
    uint64_t first = 0, word = 0;
    memcpy(&first, sector, 8);
    for (size_t i = 8; i < SECTOR; i += 8) {
        memcpy(&word, sector + i, 8);
        if (word != first) return {};
    }
    return first;
}

// What each sector of the guest may read as: what was flushed last, and what was attempted since, in order.
struct Expected {
    std::vector<uint64_t> values;
    uint64_t dropped = 0;      // how many came before the first of them
    uint64_t acknowledged = 0; // the number of the latest that has ended

    void attempt(uint64_t value) { values.push_back(value); }
    void acknowledge() { acknowledged = dropped + values.size() - 1; }
    // Whatever else it was: nobody sees it any more.
    void becomes(uint64_t value) {
        attempt(value);
        acknowledge();
        flushed(acknowledged);
    }
    uint64_t latest() const { return dropped + values.size() - 1; }
    void flushed(uint64_t number) {
        if (number <= dropped) return;
        values.erase(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(number - dropped));
        dropped = number;
    }
    bool may_be(uint64_t value, uint64_t from) const {
        for (uint64_t k = std::max(from, dropped) - dropped; k < values.size(); k++)
            if (values[k] == value) return true;
        return false;
    }
    // The same, but not by this one.
    bool may_be_without(uint64_t value, uint64_t number) const {
        for (uint64_t k = 0; k < values.size(); k++)
            if (dropped + k != number && values[k] == value) return true;
        return false;
    }
};

// A snapshot. What it shows is one moment of those that it took to take it; from then on it never changes.
struct Shot {
    std::string tag;
    bool there = false;          // it has to be
    bool going = false;          // it may be
    std::set<uint64_t> sizes;    // in sectors, one of which its disk has
    std::vector<uint64_t> since; // while it is not there: which number of each sector had been acknowledged
    std::vector<uint64_t> shows; // when it is there, or going
};

// The disk as it becomes when a snapshot is applied: all of it, or nothing.
struct Applying {
    std::vector<uint64_t> number;       // of each sector's expected values
    std::vector<uint64_t> acknowledged; // before it began
    std::set<uint64_t> changing;        // sectors that a client changed meanwhile: before, or after
};
