#include "clients.h"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>

#include "engine/queue_impl.h"
#include "trace.h"

namespace {

const char *name_of(us_op op) {
    constexpr const char *names[] = {"read", "write", "flush", "discard", "write zeroes", "cache"};
    return names[op];
}

} // namespace

void on_thread_of(us::Queue &queue) {
    us::Executor::of_this_thread = &queue.impl().executor;
}

Clients::Clients(Kernel &kernel, us::Graph &graph, std::vector<us::Queue *> queues, uint64_t &next_write)
    : kernel_(kernel), graph_(graph), queues_(std::move(queues)), next_write_(next_write) {
    for (uint32_t q = 0; q < queues_.size(); q++)
        for (uint32_t tag = 0; tag < DEPTH; tag++) {
            auto call = std::make_unique<Call>();
            call->clients = this;
            call->queue = q;
            call->tag = tag;
            calls_.push_back(std::move(call));
        }
}

Clients::Call *Clients::free_call(uint32_t first_queue) {
    for (size_t i = 0; i < calls_.size(); i++) {
        Call &call = *calls_[(first_queue * DEPTH + i) % calls_.size()];
        if (!call.used) return &call;
    }
    return nullptr;
}

uint64_t Clients::oldest_read() const {
    uint64_t oldest = UINT64_MAX;
    for (const auto &call : calls_)
        if (call->used && call->op == US_OP_READ) oldest = std::min(oldest, call->began);
    return oldest;
}

void Clients::issue(uint64_t seed) {
    Prng prng(seed);
    Call *call = free_call(static_cast<uint32_t>(prng.below(queues_.size())));
    if (!call || !fill(*call, prng)) return;
    start(*call);
}

bool Clients::fill(Call &call, Prng &prng) {
    call.flags = 0;
    call.offset = call.length = 0;
    uint64_t kind = prng.below(16);
    if (kind == 0 || kind == 1) {
        call.op = US_OP_FLUSH;
        return true;
    }
    uint64_t sectors = kernel_.world.ledger.size(),
             length = 1 + prng.below(prng.one_in(4) ? MOST / SECTOR : 4);
    // Half of them at a few places, so that they meet.
    uint64_t first = prng.one_in(2) ? prng.below(sectors) : prng.below(3) * sectors / 3;
    call.offset = first * SECTOR;
    call.length = std::min(length, sectors - first) * SECTOR;
    if (kind < 5) {
        call.op = US_OP_READ;
        return true;
    }
    return fill_change(call, prng);
}

bool Clients::fill_change(Call &call, Prng &prng) {
    uint64_t kind = prng.below(10);
    if (kind == 0 && kernel_.world.keeps_discarded) kind = 1;
    call.op = kind == 0 ? US_OP_DISCARD : kind == 1 ? US_OP_WRITE_ZEROES : US_OP_WRITE;
    if (prng.one_in(5)) call.flags |= us::REQUEST_FUA;
    if (call.op == US_OP_WRITE_ZEROES) {
        if (prng.one_in(2)) call.flags |= us::REQUEST_NO_UNMAP;
        if (prng.one_in(3)) call.flags |= us::REQUEST_FAST_ONLY;
    }
    uint64_t first = call.offset / SECTOR, nr = call.length / SECTOR, oldest = oldest_read();
    Ledger &ledger = kernel_.world.ledger;
    for (uint64_t i = 0; i < nr; i++)
        if (!ledger.free(first + i, oldest)) return false;
    uint64_t number = next_write_++;
    call.written.clear();
    for (uint64_t i = 0; i < nr; i++) {
        Content content = 0;
        if (call.op == US_OP_WRITE) {
            uint64_t words[SECTOR / sizeof(uint64_t)];
            std::fill(std::begin(words), std::end(words), number << 16 | (first + i));
            memcpy(call.data + i * SECTOR, words, SECTOR);
            content = Sectors::instance().number(call.data + i * SECTOR);
        }
        ledger.write_begins(first + i, content, oldest);
        call.written.push_back(content);
    }
    return true;
}

void Clients::start(Call &call) {
    call.used = true;
    busy_++;
    call.began = kernel_.world.ledger.now();
    call.buffer.data = call.data;
    call.done = [](us::Request &request) {
        auto &self = static_cast<Call &>(request);
        self.clients->ended(self);
    };
    if (call.op == US_OP_WRITE)
        STEP("client %s%s %" PRIu64 "+%" PRIu64 " of #%u…", name_of(call.op),
             call.flags & us::REQUEST_FUA ? " durably" : "", call.offset / SECTOR, call.length / SECTOR,
             call.written[0]);
    else
        STEP("client %s%s %" PRIu64 "+%" PRIu64, name_of(call.op),
             call.flags & us::REQUEST_FUA ? " durably" : "", call.offset / SECTOR, call.length / SECTOR);
    on_thread_of(*queues_[call.queue]);
    queues_[call.queue]->submit(call);
}

void Clients::ended(Call &call) {
    STEP("client's %s %" PRIu64 "+%" PRIu64 " ended: %s", name_of(call.op), call.offset / SECTOR,
         call.length / SECTOR, call.error ? strerror(-call.error) : "done");
    bool refused = call.error == -EOPNOTSUPP && (call.flags & us::REQUEST_FAST_ONLY);
    bool full = call.error == -ENOSPC && kernel_.world.narrow;
    if (call.error != 0 && !refused && !full && kernel_.injected == 0)
        fail("a %s failed (%s), and nothing had gone wrong", name_of(call.op), strerror(-call.error));
    if (call.good_bytes > call.length || (call.error == 0 && call.good_bytes != call.length))
        fail("a %s of %" PRIu64 " bytes has %" PRIu64 " good ones", name_of(call.op), call.length,
             call.good_bytes);
    call.used = false;
    busy_--;
    if (call.op == US_OP_READ)
        read_ended(call);
    else if (call.op == US_OP_FLUSH)
        kernel_.world.ledger.flush_ends(call.began, call.error == 0);
    else
        write_ended(call);
    continue_reading();
}

void Clients::write_ended(Call &call) {
    bool durable = call.error == 0 && (call.flags & us::REQUEST_FUA);
    for (size_t i = 0; i < call.written.size(); i++)
        kernel_.world.ledger.write_ends(call.offset / SECTOR + i, call.written[i],
                                        (i + 1) * SECTOR <= call.good_bytes, durable);
}

void Clients::read_ended(Call &call) {
    for (uint64_t at = 0; at + SECTOR <= call.good_bytes; at += SECTOR) {
        uint64_t sector = (call.offset + at) / SECTOR;
        Content content = Sectors::instance().number(call.data + at);
        std::string allowed = kernel_.world.ledger.read_ends(sector, content, call.began);
        if (!allowed.empty())
            fail("sector %" PRIu64 " reads #%u, and could only be #%s", sector, content, allowed.c_str());
    }
}

void Clients::begin_reading_all() {
    to_read_ = kernel_.world.ledger.size();
    continue_reading();
}

bool Clients::reading_all() {
    continue_reading();
    return to_read_ > 0 || busy_ > 0;
}

void Clients::continue_reading() {
    while (to_read_ > 0) {
        Call *call = free_call(0);
        if (!call) return;
        uint64_t sectors = std::min(to_read_, MOST / SECTOR);
        to_read_ -= sectors;
        call->op = US_OP_READ;
        call->flags = 0;
        call->offset = to_read_ * SECTOR;
        call->length = sectors * SECTOR;
        start(*call);
    }
}
