// Replies on their way to a client: what each consists of, and the queue that gathers many into one sendmsg.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "frontends/nbd/request_check.h"

namespace us::nbd {

// One message, or one part of the data of a message. It lies inside of what owns the bytes and goes back
// there when the kernel has taken all of it.
struct Reply {
    static constexpr size_t max_head = 112;

    void (*sent)(Reply &) = nullptr;
    Reply *next = nullptr;
    const std::byte *data = nullptr;
    uint32_t data_bytes = 0;
    uint32_t head_bytes = 0;
    std::array<std::byte, max_head> head;
};

// NBD protocol, "Simple reply message". data may follow a successful read.
void make_simple(Reply &reply, uint64_t cookie, Error error);

// "Structured reply chunk message" with `length` bytes of data behind the head, for
// NBD_REPLY_TYPE_OFFSET_DATA.
void make_data_chunk(Reply &reply, uint64_t cookie, bool done, uint64_t offset, uint32_t length);

void make_none_chunk(Reply &reply, uint64_t cookie);

// The head of NBD_REPLY_TYPE_BLOCK_STATUS for that many bytes of descriptors; they are the caller's to add.
void make_status_chunk(Reply &reply, uint64_t cookie, uint32_t descriptor_bytes);

// Always the last chunk. The text is cut to fit.
void make_error_chunk(Reply &reply, uint64_t cookie, Error error, std::string_view text);
void make_error_offset_chunk(Reply &reply, uint64_t cookie, Error error, std::string_view text,
                             uint64_t offset);

// First in, first out. The vector of unsent bytes may grow while the kernel has already been given it: what
// it did not see simply counts as not sent yet.
class Outbox {
  public:
    bool empty() const { return first_ == nullptr; }
    void push(Reply &reply);

    // The unsent bytes, at least one element unless empty().
    const iovec *vector() const { return vector_.data(); }
    size_t vector_length() const { return vector_length_; }

    // The kernel has taken `bytes`. Calls sent() of every reply that is gone; they may be pushed again from
    // there.
    void taken(size_t bytes);

    // Forgets everything, calling sent() of each.
    void clear();

  private:
    void list(Reply &reply);

    static constexpr size_t capacity = 256;
    Reply *first_ = nullptr;
    Reply *last_ = nullptr;
    Reply *unlisted_ = nullptr; // the first that is not in vector_ yet
    size_t first_taken_ = 0;    // bytes of the first reply that are gone
    size_t vector_length_ = 0;
    std::array<iovec, capacity> vector_;
};

} // namespace us::nbd
