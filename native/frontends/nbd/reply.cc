#include "frontends/nbd/reply.h"

#include <algorithm>
#include <cassert>

namespace us::nbd {

namespace {

// Writes messages one behind the other into a reply's head.
class Head {
  public:
    explicit Head(Reply &reply) : reply_(reply) {
        reply.head_bytes = 0;
        reply.data = nullptr;
        reply.data_bytes = 0;
    }
    template <typename T> Head &put(const T &message) { return put(&message, sizeof message); }
    Head &put(const void *data, size_t bytes) {
        assert(reply_.head_bytes + bytes <= Reply::max_head);
        std::memcpy(reply_.head.data() + reply_.head_bytes, data, bytes);
        reply_.head_bytes += static_cast<uint32_t>(bytes);
        return *this;
    }

  private:
    Reply &reply_;
};

Chunk chunk(uint64_t cookie, ChunkType type, bool done, size_t length) {
    Chunk c;
    c.flags = done ? REPLY_FLAG_DONE : uint16_t{0};
    c.type = type;
    c.cookie = cookie;
    c.length = static_cast<uint32_t>(length);
    return c;
}

ErrorPayload error_payload(Error error, size_t text_bytes) {
    ErrorPayload payload;
    payload.error = error;
    payload.message_length = static_cast<uint16_t>(text_bytes);
    return payload;
}

constexpr size_t max_text = Reply::max_head - sizeof(Chunk) - sizeof(ErrorPayload) - sizeof(be64);

} // namespace

void make_simple(Reply &reply, uint64_t cookie, Error error) {
    SimpleReply message;
    message.error = error;
    message.cookie = cookie;
    Head(reply).put(message);
}

void make_data_chunk(Reply &reply, uint64_t cookie, bool done, uint64_t offset, uint32_t length) {
    Head(reply).put(chunk(cookie, CHUNK_OFFSET_DATA, done, sizeof(be64) + length)).put(be64{offset});
}

void make_none_chunk(Reply &reply, uint64_t cookie) {
    Head(reply).put(chunk(cookie, CHUNK_NONE, true, 0));
}

void make_status_chunk(Reply &reply, uint64_t cookie, uint32_t descriptor_bytes) {
    Head(reply)
        .put(chunk(cookie, CHUNK_BLOCK_STATUS, true, sizeof(be32) + descriptor_bytes))
        .put(be32{ALLOCATION_CONTEXT_ID});
}

void make_error_chunk(Reply &reply, uint64_t cookie, Error error, std::string_view text) {
    text = text.substr(0, max_text);
    Head(reply)
        .put(chunk(cookie, CHUNK_ERROR, true, sizeof(ErrorPayload) + text.size()))
        .put(error_payload(error, text.size()))
        .put(text.data(), text.size());
}

void make_error_offset_chunk(Reply &reply, uint64_t cookie, Error error, std::string_view text,
                             uint64_t offset) {
    text = text.substr(0, max_text);
    Head(reply)
        .put(chunk(cookie, CHUNK_ERROR_OFFSET, true, sizeof(ErrorPayload) + text.size() + sizeof(be64)))
        .put(error_payload(error, text.size()))
        .put(text.data(), text.size())
        .put(be64{offset});
}

void Outbox::push(Reply &reply) {
    reply.next = nullptr;
    if (last_)
        last_->next = &reply;
    else
        first_ = &reply;
    last_ = &reply;
    if (!unlisted_) {
        if (vector_length_ + 2 <= capacity)
            list(reply);
        else
            unlisted_ = &reply;
    }
}

void Outbox::list(Reply &reply) {
    if (reply.head_bytes) vector_[vector_length_++] = {reply.head.data(), reply.head_bytes};
    if (reply.data_bytes) vector_[vector_length_++] = {const_cast<std::byte *>(reply.data), reply.data_bytes};
}

void Outbox::taken(size_t bytes) {
    first_taken_ += bytes;
    Reply *gone = nullptr;
    Reply **gone_end = &gone;
    while (first_ && first_taken_ >= size_t{first_->head_bytes} + first_->data_bytes) {
        Reply *reply = first_;
        first_taken_ -= size_t{reply->head_bytes} + reply->data_bytes;
        first_ = reply->next;
        reply->next = nullptr;
        *gone_end = reply;
        gone_end = &reply->next;
    }
    if (!first_) last_ = nullptr;
    assert(first_ || first_taken_ == 0);

    // List anew from the first byte that is left.
    vector_length_ = 0;
    Reply *reply = first_;
    for (; reply && vector_length_ + 2 <= capacity; reply = reply->next)
        list(*reply);
    unlisted_ = reply;
    size_t skip = first_taken_;
    size_t dropped = 0;
    while (dropped < vector_length_ && skip >= vector_[dropped].iov_len)
        skip -= vector_[dropped++].iov_len;
    std::copy(vector_.begin() + dropped, vector_.begin() + vector_length_, vector_.begin());
    vector_length_ -= dropped;
    if (skip) {
        vector_[0].iov_base = static_cast<std::byte *>(vector_[0].iov_base) + skip;
        vector_[0].iov_len -= skip;
    }

    while (gone) {
        Reply *next = gone->next;
        gone->sent(*gone);
        gone = next;
    }
}

void Outbox::clear() {
    Reply *reply = first_;
    first_ = last_ = unlisted_ = nullptr;
    first_taken_ = vector_length_ = 0;
    while (reply) {
        Reply *next = reply->next;
        reply->sent(*reply);
        reply = next;
    }
}

} // namespace us::nbd
