// Bytes of requests that lie in the kernel's registered buffers, brought into the server's memory for a layer
// that has to see them.
//
//     registered buffer ──WRITE_FIXED──▶ memory file, mapped ──▶ the layer sees and changes bytes
//                       ◀──READ_FIXED──
//
// So a device moves pages, not bytes, until a request is looked at. Each bounce has a place of its own in the
// file; places are used again. On the queue's thread alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "targets/io.h"
#include "targets/task.h"

namespace us {

class Queue;

class Bounce {
  public:
    explicit Bounce(Queue &queue) : queue_(queue) {}
    ~Bounce();
    Bounce(const Bounce &) = delete;
    Bounce &operator=(const Bounce &) = delete;

    struct Place {
        std::byte *data = nullptr;
        uint64_t offset = 0; // in the file
        int error = 0;       // -errno: there is none
    };
    Place take();
    void give(const Place &place) { free_.push_back(place); }

    // Copies io's bytes to or from the place. 0 or -errno.
    Task<int> fetch(const LeafIo &io, const Place &place);
    Task<int> put_back(const LeafIo &io, uint64_t bytes, const Place &place);

  private:
    struct Copy;
    Task<int> copy(bool from_request, const IoBuffer &buffer, uint64_t bytes, uint64_t offset);

    Queue &queue_;
    int file_ = -1;
    std::vector<Place> all_, free_;
};

} // namespace us
