// A simulated disk, or the file system under a file: what a read sees, and what a power cut leaves of it.
//
//     cache     what every read sees; survives a killed server
//     durable   what a power cut leaves for certain
//     unflushed each sector as it was written since: after a power cut any one of them, or what is durable,
//     may
//               be there
//
// A file that grows is as long as what has been written, and after a power cut as what is left of that.
#pragma once

#include <string>
#include <vector>

#include "prng.h"
#include "sectors.h"

class Disk {
  public:
    Disk(std::string name, uint64_t bytes, bool grows)
        : name(std::move(name)), cache(bytes / SECTOR), durable(cache), length_(grows ? 0 : bytes),
          durable_length_(length_) {}

    uint64_t room() const { return cache.size() * SECTOR; } // bytes that there can be
    uint64_t length() const { return length_; }

    void read(uint64_t offset, uint64_t length, std::byte *out) const;
    // request: grows with time.
    void write(uint64_t offset, uint64_t length, const std::byte *data, uint64_t request);
    void zero(uint64_t offset, uint64_t length, uint64_t request);
    void make_durable(uint64_t offset, uint64_t length);

    // What requests below `limit` have written is durable.
    void flush(uint64_t limit);
    // What was written stays visible, and no later flush can make it durable: fsync(2), "EIO".
    void lose_unflushed() {
        unflushed.clear();
        owes_error = true;
    }

    void cut_power(Prng &prng);

    std::string name;
    bool missing = false;
    // It has lost writes: each server is told once. (Linux tells once in all, and whoever is killed before it
    // has heard takes it along; nothing could be promised then.)
    bool owes_error = false;
    std::vector<Content> cache, durable;

  private:
    struct Written {
        uint32_t sector;
        Content content;
        uint64_t request;
    };

    void put(uint64_t sector, Content content, uint64_t request);
    void keep(uint64_t sector, Content content);

    uint64_t length_, durable_length_; // bytes
    std::vector<Written> unflushed;    // in the order of writing
};
