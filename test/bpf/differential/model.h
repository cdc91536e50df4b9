// The plain model: where the bytes of a stack lie, written from the definitions of the layers. It knows
// neither steps nor frames nor tables; it goes over children and chunks and looks which of them the range
// touches.
#pragma once

#include "stack.h"

namespace us::differential {

class Model {
  public:
    explicit Model(const Stack &stack) : stack_(stack) {}

    // Every piece of the request, in order.
    Answer walk(const Request &request);
    // What the driver of ublk-bpf has seen submitted when it ends, `most` pieces at a time: parts that cannot
    // be told apart, which is all that goes to several members, are submitted at once or not at all; the
    // first part that has to go to the server, or is too large, ends it.
    Answer heads(const Request &request, size_t most);

    // By the sector, where no window is set: all places, in the order of members.
    struct Place {
        uint32_t layer;
        uint64_t offset;
        bool redirected;
        bool operator==(const Place &) const = default;
    };
    void places(uint32_t index, us_op op, uint64_t offset, std::vector<Place> &out) const;

    static uint64_t walks; // how many the model itself has done

  private:
    void range(uint32_t index, uint64_t offset, uint64_t length, uint64_t buffer, bool whole);
    void stripe(const Layer &layer, uint64_t offset, uint64_t length, uint64_t buffer, bool whole);
    void linear(const Layer &layer, uint64_t offset, uint64_t length, uint64_t buffer, bool whole);
    void mirror(uint32_t index, uint64_t offset, uint64_t length, uint64_t buffer, bool whole);
    void format(uint32_t index, uint64_t offset, uint64_t length, uint64_t buffer, bool whole);
    void instrument(uint32_t index, uint64_t offset, uint64_t length, uint64_t buffer, bool whole);
    void flush(uint32_t index);
    void add(uint32_t index, uint64_t offset, uint64_t length, uint64_t buffer, bool redirected, bool whole);

    const Stack &stack_;
    us_op op_ = US_OP_READ;
    std::vector<Piece> pieces_;
    std::vector<size_t> ends_; // of parts that stand alone, in pieces_
};

} // namespace us::differential
