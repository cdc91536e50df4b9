#include "check.h"

#include <algorithm>
#include <bit>
#include <sstream>

namespace us::differential {

void Plant::apply(const std::string &whose, const Request &request, Answer &answer) const {
    if (whose != who || request.op != US_OP_WRITE || answer.pieces.size() < 2) return;
    std::swap(answer.pieces.back(), answer.pieces[answer.pieces.size() - 2]);
}

Expected expect(const Stack &stack, const Request &request, const Plant &plant) {
    Model model(stack);
    Expected expected{model.walk(request), model.heads(request, PLAN_PIECES)};
    plant.apply("model", request, expected.walk);
    return expected;
}

std::optional<Disagreement> compare_sectors(const Stack &stack, const Request &request,
                                            const Answer &native) {
    constexpr uint64_t SECTOR = 512;
    Model model(stack);
    std::vector<std::vector<Model::Place>> found(request.length / SECTOR);
    for (const Piece &piece : native.pieces)
        for (uint64_t at = 0; at < piece.length; at += SECTOR)
            found.at((piece.buffer + at) / SECTOR)
                .push_back({piece.layer, piece.offset + at, piece.redirected});
    for (size_t sector = 0; sector < found.size(); sector++) {
        std::vector<Model::Place> wanted;
        model.places(request.root, request.op, request.offset + sector * SECTOR, wanted);
        if (wanted == found[sector]) continue;
        Disagreement wrong{"native, by sector " + std::to_string(sector), {End::end, {}}, {End::end, {}}};
        for (const Model::Place &place : wanted)
            wrong.expected.pieces.push_back(
                {place.layer, place.offset, SECTOR, sector * SECTOR, place.redirected});
        for (const Model::Place &place : found[sector])
            wrong.got.pieces.push_back(
                {place.layer, place.offset, SECTOR, sector * SECTOR, place.redirected});
        return wrong;
    }
    return std::nullopt;
}

uint32_t Batch::add(const us_table &table, const us_live &live) {
    if (nr_tables_ == US_RUN_TABLES) throw std::logic_error("too many tables");
    bpf_.memory().tables[nr_tables_] = table;
    bpf_.memory().lives[nr_tables_] = live;
    return nr_tables_++;
}

bool Batch::add(uint32_t table, const Request &request, size_t room) {
    if (nr_requests_ == US_RUN_REQUESTS || room_ + room > US_RUN_PIECES) return false;
    room_ += room;
    us_run_request &asked = bpf_.memory().requests[nr_requests_++];
    asked = {};
    asked.offset = request.offset;
    asked.length = request.length;
    asked.table = table;
    asked.root = request.root;
    asked.op = request.op;
    asked.room = static_cast<us_u32>(room);
    return true;
}

void Batch::run(Engine engine) {
    for (uint32_t i = 0; i < nr_requests_; i++)
        bpf_.memory().requests[i].result = US_RUN_UNASKED;
    bpf_.run(engine, nr_requests_);
}

Answer Batch::answer(Engine engine, uint32_t number, const Request &request) const {
    Answer answer = bpf_.answer(number);
    plant_.apply(engine == Engine::walk ? "walk" : "heads", request, answer);
    return answer;
}

std::optional<Disagreement> disagreement(Bpf &bpf, const Plant &plant, const Stack &stack,
                                         const Request &request) {
    write_words(stack, bpf.memory().words);
    us_table table = table_of(stack);
    us_live live = live_of(stack);
    Expected expected = expect(stack, request, plant);
    Answer native = Native::walk(table, live, bpf.memory().words, request, US_RUN_PIECES);
    plant.apply("native", request, native);
    if (native != expected.walk) return Disagreement{"native", expected.walk, native};
    if (stack[request.root].size <= 1 << 20 && request.op != US_OP_FLUSH && !has_windows(stack))
        if (auto wrong = compare_sectors(stack, request, native)) return wrong;
    Batch batch(bpf, plant);
    batch.add(batch.add(table, live), request, std::max(ROOM, native.pieces.size()));
    for (Engine engine : {Engine::walk, Engine::heads}) {
        batch.run(engine);
        Answer got = batch.answer(engine, 0, request);
        const Answer &wanted = engine == Engine::walk ? expected.walk : expected.heads;
        if (got != wanted)
            return Disagreement{
                engine == Engine::walk ? "walk of the BPF program" : "heads of the BPF program", wanted, got};
    }
    return std::nullopt;
}

namespace {

// Only what the root reaches, in the same order.
void prune(Stack &stack, Request &request) {
    std::vector<bool> reached(stack.size());
    reached[request.root] = true;
    for (size_t i = request.root; i < stack.size(); i++)
        for (uint32_t child : stack[i].children)
            if (reached[i]) reached[child] = true;
    std::vector<uint32_t> number(stack.size());
    Stack kept;
    for (size_t i = 0; i < stack.size(); i++)
        if (reached[i]) {
            number[i] = static_cast<uint32_t>(kept.size());
            kept.push_back(std::move(stack[i]));
        }
    for (Layer &layer : kept)
        for (uint32_t &child : layer.children)
            child = number[child];
    request.root = number[request.root];
    stack = std::move(kept);
}

bool legal(Stack &stack, Request &request) {
    for (Layer &layer : stack) {
        auto all = static_cast<uint32_t>((uint64_t{1} << layer.children.size()) - 1);
        layer.words.readable &= all;
        layer.words.writable &= all;
    }
    if (!settle(stack)) return false;
    uint64_t size = stack[request.root].size;
    if (request.op == US_OP_FLUSH) return request.length == 0 && request.offset == 0;
    return request.length > 0 && request.offset < size && request.length <= size - request.offset;
}

using Case = std::pair<Stack, Request>;

std::vector<Case> smaller_requests(const Stack &stack, const Request &request) {
    std::vector<Case> out;
    auto offer = [&](uint64_t offset, uint64_t length) {
        offset = offset / 512 * 512;
        length = length / 512 * 512;
        if (offset == request.offset && length == request.length) return;
        out.emplace_back(stack, Request{request.root, request.op, offset, length});
    };
    offer(0, request.length);
    offer(request.offset, 512);
    offer(request.offset, request.length / 2);
    offer(request.offset + request.length / 2, request.length / 2);
    offer(request.offset, request.length - std::min<uint64_t>(request.length, 512));
    offer(request.offset + 512, request.length - std::min<uint64_t>(request.length, 512));
    if (request.offset) offer(request.offset / 2, request.length);
    if (request.offset) offer(request.offset - 512, request.length);
    return out;
}

std::vector<Case> smaller_stacks(const Stack &stack, const Request &request) {
    std::vector<Case> out;
    for (uint32_t child : stack[request.root].children) {
        out.emplace_back(stack, request);
        out.back().second.root = child;
        out.emplace_back(out.back());
        out.back().second.offset = 0;
    }
    for (size_t i = 0; i < stack.size(); i++) {
        const Layer &layer = stack[i];
        if (!is_leaf(layer)) {
            out.emplace_back(stack, request);
            out.back().first[i] = {};
            out.back().first[i].type = US_TYPE_FILE;
            out.back().first[i].size = layer.size;
        } else if (layer.size > 1024) {
            for (uint64_t size : {uint64_t{512}, layer.size / 1024 * 512}) {
                out.emplace_back(stack, request);
                out.back().first[i].size = size;
            }
        }
        if (layer.chunk > 512) {
            out.emplace_back(stack, request);
            out.back().first[i].chunk /= 2;
        }
        if (layer.start) {
            out.emplace_back(stack, request);
            out.back().first[i].start = layer.start / 1024 * 512;
        }
        for (size_t c = 0; c < layer.children.size() && layer.children.size() > 1; c++) {
            out.emplace_back(stack, request);
            auto &children = out.back().first[i].children;
            children.erase(children.begin() + static_cast<int>(c));
        }
        if (layer.words.window_end) {
            out.emplace_back(stack, request);
            out.back().first[i].words.window_start = out.back().first[i].words.window_end = 0;
        }
        for (const auto &[unit, at] : layer.units) {
            out.emplace_back(stack, request);
            out.back().first[i].units.erase(unit);
        }
        if (layer.words.unrecorded) {
            out.emplace_back(stack, request);
            out.back().first[i].words.unrecorded = false;
        }
        if (layer.words.looks) {
            out.emplace_back(stack, request);
            out.back().first[i].words.looks &= layer.words.looks - 1;
        }
    }
    return out;
}

// A number that gets smaller with every step taken, so that the search ends.
uint64_t weight(const Stack &stack, const Request &request) {
    uint64_t sum = request.offset / 512 + request.length / 128;
    for (const Layer &layer : stack)
        sum += (uint64_t{1} << 50) + (layer.children.size() << 45) +
               (is_leaf(layer) ? layer.size / 512 : 1 << 20) + layer.chunk / 512 + layer.start / 512 +
               (layer.words.window_end ? 1 : 0) + layer.words.unrecorded + layer.units.size() +
               static_cast<uint64_t>(std::popcount(layer.words.looks));
    return sum;
}

} // namespace

void reduce(Stack &stack, Request &request,
            const std::function<bool(const Stack &, const Request &)> &fails) {
    size_t tries = 0;
    for (bool smaller = true; smaller && tries < 20'000;) {
        smaller = false;
        std::vector<Case> cases = smaller_stacks(stack, request);
        std::ranges::move(smaller_requests(stack, request), std::back_inserter(cases));
        for (auto &[candidate, asked] : cases) {
            tries++;
            prune(candidate, asked);
            if (!legal(candidate, asked) || weight(candidate, asked) >= weight(stack, request)) continue;
            if (!fails(candidate, asked)) continue;
            stack = candidate;
            request = asked;
            smaller = true;
            break;
        }
    }
}

std::string text_of(const Disagreement &wrong) {
    return wrong.who + "\n  expected " + text_of(wrong.expected) + "\n  got      " + text_of(wrong.got) +
           "\n";
}

} // namespace us::differential
