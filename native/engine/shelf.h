// Where a worker lays what its successor would otherwise have to make again: descriptors, with a note that
// says what they are. They wait in a socket whose both ends their common parent keeps open, and nobody reads;
// what lies there is as alive as an open descriptor.
//
//   parent   Shelf shelf;  fork ──▶ worker   take_all(), put() …
//                          fork ──▶ worker   take_all(): what the first one has put
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/descriptor.h"

namespace us {

class Shelf {
  public:
    struct Item {
        std::vector<std::byte> note;
        std::vector<Descriptor> descriptors;
    };

    // Throws std::system_error.
    Shelf();

    // Everything that lies there, which then no longer does.
    std::vector<Item> take_all();
    // A note of at most NOTE_BYTES and at most MAX_DESCRIPTORS descriptors, which stay open here too. Throws
    // std::system_error when there is no room.
    void put(std::span<const std::byte> note, std::span<const int> descriptors);

    static constexpr size_t NOTE_BYTES = 256, MAX_DESCRIPTORS = 16;

  private:
    Descriptor in_, out_;
};

} // namespace us
