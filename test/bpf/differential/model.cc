#include "model.h"

#include <algorithm>
#include <optional>
#include <span>

#include "core/format.h"

namespace us::differential {

uint64_t Model::walks = 0;

namespace {

constexpr uint64_t MIB = 1 << 20;

bool is_member(uint32_t set, size_t child) {
    return set >> child & 1;
}

// The member that reads of one MiB go to: always the same, and neighbours spread.
uint32_t balanced(const Words &words, uint64_t offset) {
    std::vector<uint32_t> members;
    for (uint32_t child = 0; child < 32; child++)
        if (is_member(words.readable, child)) members.push_back(child);
    uint64_t mixed = offset / MIB * 0x9E3779B97F4A7C15;
    return members[static_cast<uint32_t>(mixed >> 33) % members.size()];
}

bool has_one(uint32_t set) {
    return set != 0 && (set & (set - 1)) == 0;
}

bool reads(us_op op) {
    return op == US_OP_READ || op == US_OP_CACHE;
}

} // namespace

// `whole`: part of something that stands or falls as one.
void Model::add(uint32_t index, uint64_t offset, uint64_t length, uint64_t buffer, bool redirected,
                bool whole) {
    pieces_.push_back({index, offset, length, buffer, redirected});
    if (!whole) ends_.push_back(pieces_.size());
}

void Model::linear(const Layer &layer, uint64_t offset, uint64_t length, uint64_t buffer, bool whole) {
    uint64_t begin = 0;
    for (uint32_t child : layer.children) {
        uint64_t end = begin + stack_[child].size;
        uint64_t low = std::max(begin, offset), high = std::min(end, offset + length);
        if (low < high) range(child, low - begin, high - low, buffer + low - offset, whole);
        begin = end;
    }
}

void Model::stripe(const Layer &layer, uint64_t offset, uint64_t length, uint64_t buffer, bool whole) {
    uint64_t width = layer.children.size(), last = (offset + length - 1) / layer.chunk;
    for (uint64_t chunk = offset / layer.chunk; chunk <= last; chunk++) {
        uint64_t low = std::max(chunk * layer.chunk, offset);
        uint64_t high = std::min((chunk + 1) * layer.chunk, offset + length);
        range(layer.children[chunk % width], chunk / width * layer.chunk + low % layer.chunk, high - low,
              buffer + low - offset, whole);
    }
}

void Model::mirror(uint32_t index, uint64_t offset, uint64_t length, uint64_t buffer, bool whole) {
    const Layer &layer = stack_[index];
    const Words &words = layer.words;
    if (reads(op_)) {
        if (words.readable == 0) return add(index, offset, length, buffer, true, whole);
        for (uint64_t low = offset; low < offset + length;) {
            uint64_t next = has_one(words.readable) ? offset + length : (low / MIB + 1) * MIB;
            uint64_t high = std::min(next, offset + length);
            range(layer.children[balanced(words, low)], low, high - low, buffer + low - offset, whole);
            low = high;
        }
        return;
    }
    bool touches = offset < words.window_end && offset + length > words.window_start;
    if (words.writable == 0 || !words.open || touches) return add(index, offset, length, buffer, true, whole);
    bool together = whole || layer.children.size() > 1;
    for (size_t child = 0; child < layer.children.size(); child++)
        if (is_member(words.writable, child)) range(layer.children[child], offset, length, buffer, together);
    if (together && !whole) ends_.push_back(pieces_.size());
}

void Model::instrument(uint32_t index, uint64_t offset, uint64_t length, uint64_t buffer, bool whole) {
    const Layer &layer = stack_[index];
    const Words &words = layer.words;
    bool touches = offset < words.window_end && offset + length > words.window_start;
    if (touches && is_member(words.looks, op_)) return add(index, offset, length, buffer, true, whole);
    range(layer.children[0], offset, length, buffer, whole);
}

// Units that lie side by side, 32 at most, are one piece. What nobody has said where it is takes all that
// comes after it to the handler.
void Model::format(uint32_t index, uint64_t offset, uint64_t length, uint64_t buffer, bool whole) {
    const Layer &layer = stack_[index];
    auto unit_of = [&](uint64_t number) -> std::optional<Unit> {
        auto found = layer.units.find(number);
        return found == layer.units.end() ? std::nullopt : std::optional(found->second);
    };
    for (uint64_t end = offset + length; offset < end;) {
        uint64_t first = offset / layer.unit;
        std::optional<Unit> unit = unit_of(first);
        bool known = unit && layer.words.open && (op_ == US_OP_READ || op_ == US_OP_WRITE);
        if (known && op_ == US_OP_WRITE) known = unit->kind == US_FORMAT_OWN;
        bool shines = unit && unit->kind == US_FORMAT_SHINES;
        uint64_t units = 1;
        for (; known && units < 32; units++) {
            std::optional<Unit> next = unit_of(first + units);
            bool follows = next && next->kind == unit->kind && (shines || next->place == unit->place + units);
            if (!follows || (first + units) * layer.unit >= end) break;
        }
        uint64_t high = std::min((first + units) * layer.unit, end);
        if (known && shines && high > stack_[layer.children[1]].size) known = false;
        if (!known) return add(index, offset, end - offset, buffer, true, whole);
        range(layer.children[shines], shines ? offset : unit->place * layer.unit + offset % layer.unit,
              high - offset, buffer, whole);
        buffer += high - offset;
        offset = high;
    }
}

void Model::range(uint32_t index, uint64_t offset, uint64_t length, uint64_t buffer, bool whole) {
    const Layer &layer = stack_[index];
    switch (layer.type) {
    case US_TYPE_LINEAR:
        return linear(layer, offset, length, buffer, whole);
    case US_TYPE_STRIPE:
        return stripe(layer, offset, length, buffer, whole);
    case US_TYPE_MIRROR:
        return mirror(index, offset, length, buffer, whole);
    case US_TYPE_PARTITION:
        return range(layer.children[0], layer.start + offset, length, buffer, whole);
    case US_TYPE_FORMAT:
        return format(index, offset, length, buffer, whole);
    case US_TYPE_INSTRUMENT:
        return instrument(index, offset, length, buffer, whole);
    default:
        return add(index, offset, length, buffer, false, whole);
    }
}

void Model::flush(uint32_t index) {
    const Layer &layer = stack_[index];
    if (is_leaf(layer)) return add(index, 0, 0, 0, false, true);
    bool mirrored = layer.type == US_TYPE_MIRROR;
    if (layer.type == US_TYPE_FORMAT) {
        if (!layer.clean) return add(index, 0, 0, 0, true, true);
        return flush(layer.children[0]);
    }
    bool looked_at = layer.type == US_TYPE_INSTRUMENT && is_member(layer.words.looks, US_OP_FLUSH);
    if (looked_at || (mirrored && (layer.words.writable == 0 || layer.words.unrecorded)))
        return add(index, 0, 0, 0, true, true);
    for (size_t child = 0; child < layer.children.size(); child++)
        if (!mirrored || is_member(layer.words.writable, child)) flush(layer.children[child]);
}

Answer Model::walk(const Request &request) {
    walks++;
    pieces_.clear();
    ends_.clear();
    op_ = request.op;
    if (op_ == US_OP_FLUSH) {
        flush(request.root);
        ends_.push_back(pieces_.size());
    } else {
        range(request.root, request.offset, request.length, 0, false);
    }
    return {End::end, pieces_};
}

Answer Model::heads(const Request &request, size_t most) {
    Answer answer = walk(request);
    size_t begin = 0;
    for (size_t end : ends_) {
        bool redirects =
            std::ranges::any_of(std::span(pieces_).subspan(begin, end - begin), &Piece::redirected);
        if (redirects || end - begin > most) {
            answer.end = End::redirect;
            answer.pieces.resize(begin);
            return answer;
        }
        begin = end;
    }
    return answer;
}

void Model::places(uint32_t index, us_op op, uint64_t offset, std::vector<Place> &out) const {
    const Layer &layer = stack_[index];
    if (is_leaf(layer)) {
        out.push_back({index, offset, false});
    } else if (layer.type == US_TYPE_LINEAR) {
        size_t child = 0;
        while (offset >= stack_[layer.children[child]].size)
            offset -= stack_[layer.children[child++]].size;
        places(layer.children[child], op, offset, out);
    } else if (layer.type == US_TYPE_STRIPE) {
        uint64_t chunk = offset / layer.chunk, width = layer.children.size();
        places(layer.children[chunk % width], op, chunk / width * layer.chunk + offset % layer.chunk, out);
    } else if (layer.type == US_TYPE_PARTITION) {
        places(layer.children[0], op, layer.start + offset, out);
    } else if (layer.type == US_TYPE_INSTRUMENT) {
        if (is_member(layer.words.looks, op))
            out.push_back({index, offset, true});
        else
            places(layer.children[0], op, offset, out);
    } else if (reads(op) ? layer.words.readable == 0 : layer.words.writable == 0 || !layer.words.open) {
        out.push_back({index, offset, true});
    } else if (reads(op)) {
        places(layer.children[balanced(layer.words, offset)], op, offset, out);
    } else {
        for (size_t child = 0; child < layer.children.size(); child++)
            if (is_member(layer.words.writable, child)) places(layer.children[child], op, offset, out);
    }
}

} // namespace us::differential
