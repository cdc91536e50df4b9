#include "frontends/nbd/transmission.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "frontends/nbd/worker.h"

namespace us::nbd {

namespace {

// The longest part of an operation without a payload, when the layers have no limit of their own: long ranges
// stay interruptible by other requests.
constexpr uint64_t max_zeroing_bytes = 1u << 30;
constexpr uint64_t max_cache_bytes = 32u << 20;

uint64_t limit(uint64_t of_the_layers, uint64_t own) {
    return of_the_layers ? std::min(of_the_layers, own) : own;
}

// Parts end where a multiple of the largest buffer ends, which is where chunks of arrays end too.
uint64_t data_part_bytes(const Operation &op) {
    return std::min<uint64_t>(op.end - op.placed, BufferPool::max_bytes - op.placed % BufferPool::max_bytes);
}

} // namespace

Transmission::Transmission(Worker &worker, TransmissionOwner &owner, const Session &session, Outbox &outbox)
    : worker_(worker), owner_(owner), session_(session), outbox_(outbox) {
    worker_.service().clients[session_.info->index]++;
}

Transmission::~Transmission() {
    assert(idle());
    worker_.forget_waiter(*this);
    worker_.service().clients[session_.info->index]--;
}

Transmission::Want Transmission::advance(std::span<const std::byte> input, bool new_requests, size_t &used) {
    const size_t given = input.size();
    Want want = Want::bytes;
    for (;;) {
        if (current_) {
            if (place_current(input)) continue;
            bool for_payload = current_->refused || (receiving_ && received_ < receiving_->bytes);
            want = for_payload ? Want::bytes : Want::time;
            break;
        }
        RequestHeader header;
        if (!new_requests || input.size() < sizeof header) break;
        if (operations_.in_use() == max_operations) {
            want = Want::time;
            break;
        }
        std::memcpy(&header, input.data(), sizeof header);
        input = input.subspan(sizeof header);
        Command command;
        if (!parse_command(header, command)) {
            want = Want::hang_up;
            break;
        }
        if (command.type == CMD_DISC) {
            want = Want::disconnect;
            break;
        }
        begin(command);
    }
    used = given - input.size();
    return want;
}

// Sets current_, or finishes the operation right away when there is nothing to place.
void Transmission::begin(const Command &command) {
    Operation &op = *operations_.take();
    op.owner = this;
    op.command = command;
    op.parts = 0;
    op.gather = op.refused = op.dropped = op.flush_after = op.error_is_at_offset = false;
    op.error = NBD_SUCCESS;
    op.first_gathered = op.last_gathered = nullptr;
    op.placed = command.offset;
    op.end = command.offset + command.length;

    if (Refusal refusal = check_command(command, session_)) {
        op.error = refusal.error;
        op.reason = refusal.reason;
        op.refused = command.type == CMD_WRITE;
        op.placed = 0;
        op.end = op.refused ? command.length : 0;
    } else if (command.type == CMD_FLUSH || command.type == CMD_BLOCK_STATUS) {
        // Nothing that a read-only client did could need a flush.
        op.placed = 0;
        op.end = command.type == CMD_FLUSH && session_.info->read_only ? 0 : 1;
    } else if (command.type == CMD_TRIM) {
        uint64_t block = session_.info->minimum_block;
        op.placed = (op.placed + block - 1) & ~(block - 1);
        op.end = std::max(op.end & ~(block - 1), op.placed);
    }
    op.gather = command.type == CMD_READ && (!session_.structured || (command.flags & CMD_FLAG_DF));
    if (op.placed == op.end) return finish(op);
    current_ = &op;
}

bool Transmission::place_current(std::span<const std::byte> &input) {
    Operation &op = *current_;
    const ExportInfo &info = *session_.info;
    switch (op.command.type) {
    case CMD_READ:
        return place_read(op);
    case CMD_WRITE:
        return take_payload(op, input);
    case CMD_FLUSH:
        return place_plain(op, US_OP_FLUSH, 1);
    case CMD_TRIM:
        return place_plain(op, US_OP_DISCARD, limit(info.max_discard, max_zeroing_bytes));
    case CMD_WRITE_ZEROES:
        return place_plain(op, US_OP_WRITE_ZEROES, limit(info.max_write_zeroes, max_zeroing_bytes));
    case CMD_CACHE:
        return place_plain(op, US_OP_CACHE, max_cache_bytes);
    default:
        assert(op.command.type == CMD_BLOCK_STATUS);
        look_up_status(op);
        return true;
    }
}

bool Transmission::place_read(Operation &op) {
    while (current_ == &op) {
        uint64_t bytes = data_part_bytes(op);
        if (!fits_budget(op, bytes)) return false;
        int32_t tag = worker_.take_tag(*this);
        if (tag < 0) return false;
        Part *part = new_part(op, bytes);
        if (!part) {
            worker_.give_tag(static_cast<uint32_t>(tag));
            return false;
        }
        part->tag = static_cast<uint32_t>(tag);
        if (op.gather) {
            (op.last_gathered ? op.last_gathered->next_gathered : op.first_gathered) = part;
            op.last_gathered = part;
        }
        place(op, *part, US_OP_READ, bytes);
    }
    return true;
}

// Everything that moves no data between client and server.
bool Transmission::place_plain(Operation &op, us_op kind, uint64_t max_bytes) {
    while (current_ == &op) {
        int32_t tag = worker_.take_tag(*this);
        if (tag < 0) return false;
        Part *part = new_part(op, 0);
        if (!part) {
            worker_.give_tag(static_cast<uint32_t>(tag));
            return false;
        }
        part->tag = static_cast<uint32_t>(tag);
        place(op, *part, kind, std::min(op.end - op.placed, max_bytes));
    }
    return true;
}

bool Transmission::take_payload(Operation &op, std::span<const std::byte> &input) {
    if (op.refused) {
        size_t bytes = std::min<uint64_t>(input.size(), op.end - op.placed);
        input = input.subspan(bytes);
        op.placed += bytes;
        if (op.placed < op.end) return false;
        current_ = nullptr;
        finish(op);
        return true;
    }
    while (current_ == &op) {
        if (!receiving_) {
            uint64_t bytes = data_part_bytes(op);
            if (!fits_budget(op, bytes)) return false;
            receiving_ = new_part(op, bytes);
            received_ = 0;
            if (!receiving_) return false;
        }
        Part &part = *receiving_;
        size_t bytes = std::min<size_t>(input.size(), part.bytes - received_);
        std::memcpy(part.memory + received_, input.data(), bytes);
        input = input.subspan(bytes);
        received_ += static_cast<uint32_t>(bytes);
        if (received_ < part.bytes) return false;
        int32_t tag = worker_.take_tag(*this);
        if (tag < 0) return false;
        part.tag = static_cast<uint32_t>(tag);
        receiving_ = nullptr;
        place(op, part, US_OP_WRITE, part.bytes);
    }
    return true;
}

// The operation, and even this one's other ones, may have ended when this returns.
void Transmission::place(Operation &op, Part &part, us_op kind, uint64_t bytes) {
    bool whole = op.placed == op.command.offset && bytes == op.command.length;
    bool durable = us_op_writes(kind) && (op.command.flags & CMD_FLAG_FUA);
    part.flags = 0;
    // One flush behind many parts costs less than each of them being made durable by itself.
    if (durable && whole)
        part.flags |= REQUEST_FUA;
    else if (durable)
        op.flush_after = true;
    if (op.command.flags & CMD_FLAG_NO_HOLE) part.flags |= REQUEST_NO_UNMAP;
    if (op.command.flags & CMD_FLAG_FAST_ZERO) part.flags |= REQUEST_FAST_ONLY;
    part.op = kind;
    part.root = session_.info->root;
    part.offset = kind == US_OP_FLUSH ? 0 : op.placed;
    part.length = kind == US_OP_FLUSH ? 0 : bytes;
    part.buffer.data = part.memory;
    part.done = [](Request &request) {
        auto &ended = static_cast<Part &>(request);
        ended.owner->part_ended(ended);
    };
    op.placed += bytes;
    op.parts++;
    if (op.placed == op.end) current_ = nullptr;
    worker_.queue().submit(part);
}

bool Transmission::fits_budget(const Operation &op, uint64_t bytes) const {
    // A gathered read takes all that it needs at its beginning, so that it never waits for itself.
    if (op.gather && op.placed != op.command.offset) return true;
    uint64_t wanted = op.gather ? op.command.length : BufferPool::capacity(static_cast<uint32_t>(bytes));
    return held_bytes_ == 0 || held_bytes_ + wanted <= budget_bytes;
}

// nullptr: all are in use. bytes: of memory, 0 for none.
Part *Transmission::new_part(Operation &op, uint64_t bytes) {
    Part *part = parts_.take();
    if (!part) return nullptr;
    part->owner = this;
    part->operation = &op;
    part->next_gathered = nullptr;
    part->bytes = static_cast<uint32_t>(bytes);
    part->memory = nullptr;
    if (bytes) {
        part->memory = worker_.buffers().take(part->bytes);
        held_bytes_ += BufferPool::capacity(part->bytes);
    }
    return part;
}

bool Transmission::payload_target(iovec &target) const {
    if (!receiving_ || received_ == receiving_->bytes) return false;
    target = {receiving_->memory + received_, receiving_->bytes - received_};
    return true;
}

void Transmission::payload_arrived(size_t bytes) {
    received_ += static_cast<uint32_t>(bytes);
    assert(received_ <= receiving_->bytes);
}

void Transmission::end_of_stream() {
    if (current_ && current_->command.type == CMD_WRITE) drop_current();
}

void Transmission::abandon() {
    abandoned_ = true;
    worker_.forget_waiter(*this);
    if (current_) drop_current();
}

void Transmission::drop_current() {
    Operation &op = *current_;
    current_ = nullptr;
    if (receiving_) release(*receiving_);
    receiving_ = nullptr;
    op.dropped = true;
    op.end = op.placed;
    if (op.parts == 0) finish(op);
}

} // namespace us::nbd
