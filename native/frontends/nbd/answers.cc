// From ended parts to replies: the second half of Transmission.
#include <algorithm>
#include <cstring>

#include "frontends/nbd/transmission.h"
#include "frontends/nbd/worker.h"

namespace us::nbd {

namespace {

// Descriptors in one reply; the client asks again for what lies behind.
constexpr uint32_t max_extents = 4096;

// Cuts extents at block boundaries, data winning over holes, and turns them into descriptors.
// "NBD_CMD_BLOCK_STATUS": lengths should be multiples of the advertised minimum block.
std::vector<StatusDescriptor> descriptors(const std::vector<Extent> &extents, uint64_t length,
                                          uint64_t block) {
    std::vector<StatusDescriptor> out;
    auto add = [&](uint64_t bytes, uint32_t flags) {
        if (bytes == 0) return;
        if (!out.empty() && out.back().flags == flags) {
            out.back().length = static_cast<uint32_t>(out.back().length + bytes);
            return;
        }
        StatusDescriptor descriptor;
        descriptor.length = static_cast<uint32_t>(bytes);
        descriptor.flags = flags;
        out.push_back(descriptor);
    };
    uint64_t at = 0, done = 0;
    for (const Extent &extent : extents) {
        uint64_t end = std::min(at + extent.length, length);
        bool data = extent.flags == 0;
        uint64_t cut = end == length || !(end % block) ? end
                       : data                          ? (end | (block - 1)) + 1
                                                       : end & ~(block - 1);
        cut = std::min(cut, length);
        if (cut > done) {
            add(cut - done, extent.flags);
            done = cut;
        }
        at = end;
    }
    if (out.empty()) add(length, 0); // nothing is known: "a server MAY always safely report a status of 0"
    return out;
}

} // namespace

void Transmission::part_ended(Part &part) {
    Operation &op = *part.operation;
    op.parts--;
    bool last = op.parts == 0 && op.placed == op.end;
    if (part.error) note_error(op, part);
    if (last && op.flush_after && op.error == NBD_SUCCESS && !op.dropped) {
        op.flush_after = false;
        op.parts = 1;
        part.op = US_OP_FLUSH;
        part.flags = 0;
        part.offset = part.length = 0;
        worker_.queue().submit(part); // with the tag that it has
        return;
    }
    uint32_t tag = part.tag;
    if (op.command.type == CMD_READ) {
        read_part_ended(part, last);
    } else {
        release(part);
        if (last) finish(op);
    }
    worker_.give_tag(tag);
    owner_.progressed();
}

void Transmission::read_part_ended(Part &part, bool last) {
    Operation &op = *part.operation;
    if (op.gather) {
        if (last) finish(op);
        return;
    }
    bool done = last && op.error == NBD_SUCCESS;
    if (part.good_bytes && !abandoned_ && !op.dropped) {
        auto good = static_cast<uint32_t>(part.good_bytes);
        make_data_chunk(part, op.command.cookie, done, part.offset, good);
        part.data = part.memory;
        part.data_bytes = good;
        part.sent = [](Reply &reply) {
            auto &gone = static_cast<Part &>(reply);
            gone.owner->release(gone);
        };
        outbox_.push(part);
        if (done) return release(op);
    } else {
        release(part);
    }
    if (last) finish(op);
}

// The lowest offset counts: what lies before it is right.
void Transmission::note_error(Operation &op, const Part &part) {
    uint64_t at = part.offset + part.good_bytes;
    if (op.error != NBD_SUCCESS && at >= op.error_offset) return;
    op.error = wire_error(-part.error, op.command.flags & CMD_FLAG_FAST_ZERO);
    const char *text = strerrordesc_np(-part.error);
    op.reason = text ? text : "unknown error";
    op.error_offset = at;
    op.error_is_at_offset = part.op != US_OP_FLUSH;
}

void Transmission::finish(Operation &op) {
    if (op.dropped || abandoned_ || op.error != NBD_SUCCESS) {
        for (Part *part = op.first_gathered; part;) {
            Part *next = part->next_gathered;
            release(*part);
            part = next;
        }
        if (op.dropped || abandoned_) return release(op);
        return answer_error(op);
    }
    if (op.command.type == CMD_READ) return answer_read(op);
    if (op.command.type == CMD_BLOCK_STATUS) return answer_status(op);
    make_simple(op, op.command.cookie, NBD_SUCCESS);
    send(op);
}

// A gathered read, or one of no bytes.
void Transmission::answer_read(Operation &op) {
    const Command &command = op.command;
    Part *first = op.first_gathered;
    if (!first) {
        if (session_.structured)
            make_none_chunk(op, command.cookie);
        else
            make_simple(op, command.cookie, NBD_SUCCESS);
        return send(op);
    }
    if (session_.structured)
        make_data_chunk(*first, command.cookie, true, command.offset, command.length);
    else
        make_simple(*first, command.cookie, NBD_SUCCESS);
    for (Part *part = first; part;) {
        Part *next = part->next_gathered;
        if (part != first) part->head_bytes = 0;
        part->data = part->memory;
        part->data_bytes = part->bytes;
        part->sent = [](Reply &reply) {
            auto &gone = static_cast<Part &>(reply);
            gone.owner->release(gone);
        };
        outbox_.push(*part);
        part = next;
    }
    release(op);
}

void Transmission::look_up_status(Operation &op) {
    op.placed = op.end;
    op.parts = 1;
    current_ = nullptr;
    worker_.offload(
        [this, &op] {
            uint32_t wanted = op.command.flags & CMD_FLAG_REQ_ONE ? 1 : max_extents;
            auto extents = worker_.service().graph.extents(session_.info->root, op.command.offset,
                                                           op.command.length, wanted);
            op.status = descriptors(extents, op.command.length, session_.info->minimum_block);
        },
        [this, &op] {
            op.parts = 0;
            finish(op);
            owner_.progressed();
        });
}

void Transmission::answer_status(Operation &op) {
    auto bytes = static_cast<uint32_t>(op.status.size() * sizeof(StatusDescriptor));
    make_status_chunk(op, op.command.cookie, bytes);
    op.data = reinterpret_cast<const std::byte *>(op.status.data());
    op.data_bytes = bytes;
    send(op);
}

// "Structured reply types": an error with an offset is defined for these requests only.
void Transmission::answer_error(Operation &op) {
    const Command &command = op.command;
    bool may_have_offset = command.type == CMD_READ || command.type == CMD_WRITE || command.type == CMD_TRIM;
    if (!session_.structured)
        make_simple(op, command.cookie, op.error);
    else if (op.error_is_at_offset && may_have_offset)
        make_error_offset_chunk(op, command.cookie, op.error, op.reason, op.error_offset);
    else
        make_error_chunk(op, command.cookie, op.error, op.reason);
    send(op);
}

void Transmission::send(Operation &op) {
    op.sent = [](Reply &reply) {
        auto &gone = static_cast<Operation &>(reply);
        gone.owner->release(gone);
    };
    outbox_.push(op);
}

void Transmission::release(Part &part) {
    if (part.memory) {
        worker_.buffers().give_back(part.memory, part.bytes);
        held_bytes_ -= BufferPool::capacity(part.bytes);
        part.memory = nullptr;
    }
    parts_.give_back(&part);
}

void Transmission::release(Operation &op) {
    op.status = {};
    operations_.give_back(&op);
}

} // namespace us::nbd
