#include "stack.h"

#include <algorithm>
#include <bit>
#include <sstream>

#include "core/format.h"

namespace us::differential {

namespace {

constexpr uint64_t SECTOR = 512;
constexpr const char *TYPES[] = {"null",   "file",      "block",      "linear", "stripe",
                                 "mirror", "partition", "instrument", "format"};
constexpr const char *OPS[] = {"read", "write", "flush", "discard", "write-zeroes", "cache"};
constexpr const char *ENDS[] = {"end", "redirect", "bad", "full", "unasked", "refused"};

uint64_t floor_to(uint64_t value, uint64_t unit) {
    return value / unit * unit;
}

// One child, rather than members.
bool has_base(const Layer &layer) {
    return layer.type == US_TYPE_PARTITION || layer.type == US_TYPE_INSTRUMENT;
}

bool is_format(const Layer &layer) {
    return layer.type == US_TYPE_FORMAT;
}

// Units that lie where they may: others nobody would say.
void keep_inside(const Stack &stack, Layer &layer) {
    uint64_t places = stack[layer.children[0]].size / layer.unit;
    std::erase_if(layer.units, [&](const auto &entry) {
        bool shines = entry.second.kind == US_FORMAT_SHINES;
        return shines ? layer.children.size() < 2 : entry.second.place >= places;
    });
}

// Grows the layer and all below it, parents first.
uint32_t grow(Random &random, Stack &stack, uint32_t levels, size_t most, uint32_t shared) {
    auto index = static_cast<uint32_t>(stack.size());
    stack.emplace_back();
    if (levels <= 1 || stack.size() >= most || (index > 0 && random.one_in(3))) {
        stack[index].type = static_cast<us_type>(random.below(US_TYPE_BLOCK + 1));
        uint64_t sectors[] = {random.between(1, 64), random.between(128, 4096),
                              random.between(1 << 10, 1 << 20), random.between(1, uint64_t{1} << 33)};
        stack[index].size = sectors[random.below(4)] * SECTOR;
        return index;
    }
    stack[index].type = static_cast<us_type>(US_TYPE_LINEAR + random.below(6));
    uint64_t members = random.one_in(12) ? random.between(1, US_MAX_CHILDREN) : random.between(1, 4);
    if (has_base(stack[index])) members = 1;
    if (is_format(stack[index])) members = random.between(1, 2);
    bool wide = members > 4;
    std::vector<uint32_t> children;
    for (uint64_t m = 0; m < members && (m == 0 || stack.size() < most); m++)
        children.push_back(grow(random, stack, wide ? 1 : levels - 1, most, shared));
    if (shared && !has_base(stack[index]) && !is_format(stack[index]) && children.size() < US_MAX_CHILDREN &&
        random.one_in(6))
        children.push_back(shared);
    stack[index].children = std::move(children);
    return index;
}

uint64_t links(const Stack &stack) {
    uint64_t sum = 0;
    for (const Layer &layer : stack)
        sum += layer.children.size();
    return sum;
}

uint64_t smallest_child(const Stack &stack, const Layer &layer) {
    uint64_t smallest = UINT64_MAX;
    for (uint32_t child : layer.children)
        smallest = std::min(smallest, stack[child].size);
    return smallest;
}

void settle_layer(const Stack &stack, Layer &layer) {
    uint64_t smallest = smallest_child(stack, layer);
    if (layer.type == US_TYPE_MIRROR || layer.type == US_TYPE_INSTRUMENT) layer.size = smallest;
    if (layer.type == US_TYPE_PARTITION) layer.size = smallest - std::min(smallest, layer.start);
    if (layer.type == US_TYPE_STRIPE) layer.size = floor_to(smallest, layer.chunk) * layer.children.size();
    if (is_format(layer)) keep_inside(stack, layer);
    if (layer.type == US_TYPE_LINEAR) {
        layer.size = 0;
        for (uint32_t child : layer.children)
            layer.size += stack[child].size;
    }
}

// A layer need not use all that its children hold.
void shrink(Random &random, const Stack &stack, Layer &layer) {
    uint64_t unit = layer.type == US_TYPE_STRIPE ? layer.chunk * layer.children.size() : SECTOR;
    uint64_t least = layer.type == US_TYPE_LINEAR ? layer.size - stack[layer.children.back()].size : 0;
    layer.size = least + random.between(1, (layer.size - least) / unit) * unit;
}

void mirror_words(Random &random, Layer &layer) {
    auto all = static_cast<uint32_t>((uint64_t{1} << layer.children.size()) - 1);
    Words &words = layer.words;
    words = {};
    words.readable = random.one_in(3) ? all : static_cast<uint32_t>(random.next()) & all;
    if (!words.readable && !random.one_in(8)) words.readable = 1;
    words.writable = random.one_in(2) ? all : words.readable | (static_cast<uint32_t>(random.next()) & all);
    words.open = !random.one_in(8);
    words.unrecorded = random.one_in(8);
}

// Runs of units, most of them side by side, some of which lie in one another's place for words.
void format_words(Random &random, const Stack &stack, Layer &layer) {
    layer.words = {};
    layer.units.clear();
    layer.words.open = !random.one_in(16);
    layer.clean = random.one_in(2);
    uint64_t units = (layer.size + layer.unit - 1) / layer.unit;
    uint64_t places = stack[layer.children[0]].size / layer.unit;
    for (uint64_t run = random.between(8, 32); run-- > 0;) {
        uint64_t unit = random.one_in(2) ? random.below(std::min<uint64_t>(units, 64)) : random.below(units);
        uint64_t length = random.between(1, 80), place = places ? random.below(places) : 0;
        auto kind = static_cast<uint32_t>(random.between(1, 3));
        if (kind == US_FORMAT_SHINES) place = 0;
        for (; length-- > 0 && unit < units; unit++, place += kind != US_FORMAT_SHINES)
            layer.units[unit] = {place, kind};
    }
    keep_inside(stack, layer);
    // The latter has the place.
    std::map<uint64_t, uint64_t> holders;
    for (const auto &[unit, at] : layer.units)
        holders[unit & ((uint64_t{1} << layer.word_bits) - 1)] = unit;
    std::erase_if(layer.units, [&](const auto &entry) {
        return holders[entry.first & ((uint64_t{1} << layer.word_bits) - 1)] != entry.first;
    });
}

// Most let most requests through: what lies below them is to be seen, too.
void instrument_words(Random &random, Layer &layer) {
    constexpr uint32_t ALL_OPS = (1u << (US_OP_CACHE + 1)) - 1;
    layer.words = {};
    layer.words.window_end = UINT64_MAX;
    if (random.one_in(2)) layer.words.looks = 1u << random.below(US_OP_CACHE + 1);
    if (random.one_in(8)) layer.words.looks = static_cast<uint32_t>(random.next()) & ALL_OPS;
}

void random_window(Random &random, Layer &layer) {
    if (layer.type != US_TYPE_MIRROR && layer.type != US_TYPE_INSTRUMENT) return;
    uint64_t sectors = layer.size / SECTOR, start = random.below(sectors);
    layer.words.window_start = start * SECTOR;
    layer.words.window_end = std::min(start + random.between(1, 2048), sectors) * SECTOR;
}

} // namespace

bool is_leaf(const Layer &layer) {
    return layer.type <= US_TYPE_BLOCK;
}

bool has_windows(const Stack &stack) {
    return std::ranges::any_of(stack, [](const Layer &layer) {
        const Words &words = layer.words;
        if (is_format(layer)) return true; // what is not known takes the rest with it
        if (layer.type == US_TYPE_INSTRUMENT)
            return words.looks != 0 && (words.window_start > 0 || words.window_end < layer.size);
        return words.window_end != 0;
    });
}

Words words_of_server() {
    Words words;
    words.open = false;
    words.looks = ~0u;
    words.window_end = UINT64_MAX;
    return words;
}

bool settle(Stack &stack) {
    for (size_t i = stack.size(); i-- > 0;)
        if (!is_leaf(stack[i])) {
            settle_layer(stack, stack[i]);
            if (stack[i].size == 0) return false;
        }
    return true;
}

Stack random_stack(Random &random) {
    for (;;) {
        Stack stack;
        // The shared leaf comes last in the end, since children stand behind their parents.
        constexpr uint32_t SHARED = UINT32_MAX;
        bool shares = random.one_in(3);
        grow(random, stack, static_cast<uint32_t>(random.between(1, US_MAX_DEPTH)),
             random.one_in(4) ? US_MAX_LAYERS - 1 : random.between(1, 24), shares ? SHARED : 0);
        if (shares) {
            for (Layer &layer : stack)
                std::ranges::replace(layer.children, SHARED, static_cast<uint32_t>(stack.size()));
            stack.emplace_back().size = random.between(8, 4096) * SECTOR;
        }
        if (stack.size() > US_MAX_LAYERS || links(stack) > US_MAX_LINKS) continue;
        for (size_t i = stack.size(); i-- > 0;) {
            Layer &layer = stack[i];
            if (is_leaf(layer)) continue;
            if (layer.type == US_TYPE_STRIPE) {
                auto largest = static_cast<uint64_t>(std::bit_width(smallest_child(stack, layer)) - 1);
                layer.chunk = uint64_t{1} << random.between(9, std::min<uint64_t>(largest, 22));
            }
            if (layer.type == US_TYPE_PARTITION)
                layer.start = random.below(smallest_child(stack, layer) / SECTOR) * SECTOR;
            if (is_format(layer)) {
                layer.size = random.between(1, random.one_in(2) ? 1 << 12 : 1 << 24) * SECTOR;
                layer.unit = uint64_t{1} << random.between(9, 21);
                layer.word_bits = static_cast<uint32_t>(random.between(0, 6));
            }
            settle_layer(stack, layer);
            if (!is_format(layer) && random.one_in(6)) shrink(random, stack, layer);
        }
        return stack;
    }
}

void random_words(Random &random, Stack &stack) {
    bool windows = random.one_in(3);
    for (Layer &layer : stack) {
        if (layer.type == US_TYPE_MIRROR) mirror_words(random, layer);
        if (layer.type == US_TYPE_INSTRUMENT) instrument_words(random, layer);
        if (is_format(layer)) format_words(random, stack, layer);
        if (windows && random.one_in(2)) random_window(random, layer);
    }
}

Request random_request(Random &random, const Stack &stack) {
    static constexpr us_op MIX[] = {US_OP_READ,  US_OP_READ,  US_OP_READ,    US_OP_READ,         US_OP_WRITE,
                                    US_OP_WRITE, US_OP_WRITE, US_OP_DISCARD, US_OP_WRITE_ZEROES, US_OP_CACHE};
    Request request;
    request.root = random.one_in(2) ? 0 : static_cast<uint32_t>(random.below(stack.size()));
    if (random.one_in(20)) {
        request.op = US_OP_FLUSH;
        return request;
    }
    request.op = MIX[random.below(std::size(MIX))];
    const Layer &layer = stack[request.root];
    uint64_t sectors = layer.size / SECTOR, start = random.below(sectors), near = random.below(8);
    // Bounds are where mistakes live: the ends, of children, of chunks, of what a mirror balances, of
    // windows.
    uint64_t bounds[] = {0,
                         0,
                         sectors,
                         layer.chunk ? start / (layer.chunk / SECTOR) * (layer.chunk / SECTOR) : start,
                         start / 2048 * 2048,
                         layer.words.window_start / SECTOR,
                         layer.words.window_end / SECTOR};
    if (layer.type == US_TYPE_LINEAR)
        for (uint64_t c = random.below(layer.children.size()); c-- > 0;)
            bounds[0] += stack[layer.children[c]].size / SECTOR;
    if (!random.one_in(3)) {
        uint64_t bound = bounds[random.below(std::size(bounds))];
        start = std::min(bound > near ? bound - near : bound, sectors - 1);
    }
    uint64_t lengths[] = {random.between(1, 8), random.between(1, 8), random.between(1, 512)};
    uint64_t length = random.one_in(24) ? random.between(1, sectors) : lengths[random.below(3)];
    request.offset = start * SECTOR;
    request.length = std::min(length, sectors - start) * SECTOR;
    return request;
}

us_table hostile_table(Random &random) {
    us_table table;
    for (size_t i = 0; i < sizeof table / sizeof(uint64_t); i++) {
        uint64_t noise = random.next();
        __builtin_memcpy(reinterpret_cast<char *>(&table) + i * sizeof noise, &noise, sizeof noise);
    }
    // Plausible words among the noise lead deeper than noise does, up to cycles.
    uint64_t noise_in = random.between(1, 16);
    for (us_layer &layer : table.layers) {
        if (!random.one_in(noise_in)) layer.type = static_cast<us_u16>(random.below(11));
        if (!random.one_in(noise_in)) layer.nr_children = static_cast<us_u16>(random.below(5));
        if (!random.one_in(noise_in)) layer.size = random.next() >> random.below(60);
        if (!random.one_in(noise_in)) layer.param[0] = random.between(0, 24);
    }
    for (us_link &link : table.links)
        if (!random.one_in(noise_in)) {
            link.layer = static_cast<us_u32>(random.below(80));
            link.start = random.one_in(2) ? 0 : random.next() >> random.below(64);
        }
    return table;
}

us_live hostile_live(Random &random) {
    us_live live;
    for (us_live_layer &layer : live.layers)
        layer = {static_cast<us_u32>(random.next()),
                 static_cast<us_u32>(random.next()),
                 static_cast<us_u32>(random.next() >> random.below(64)),
                 static_cast<us_u32>(random.next()),
                 random.next() >> random.below(64),
                 random.next() >> random.below(64)};
    return live;
}

Request hostile_request(Random &random) {
    Request request;
    request.root = static_cast<uint32_t>(random.one_in(8) ? random.next() : random.below(64));
    request.op = static_cast<us_op>(random.one_in(2) ? random.below(2) : random.below(8));
    request.offset = random.next() >> random.below(64);
    request.length = random.next() >> random.below(64);
    if (!random.one_in(4)) { // of sectors, and no longer than the driver would ask for
        request.offset &= ~uint64_t{511};
        request.length = request.length % (1 << 20) / 512 * 512;
    }
    return request;
}

void place_words(Stack &stack, uint32_t &first) {
    for (Layer &layer : stack) {
        if (!is_format(layer)) continue;
        layer.first_word = first;
        first += 1u << layer.word_bits;
    }
}

void write_words(const Stack &stack, us_words &words) {
    for (const Layer &layer : stack) {
        if (!is_format(layer)) continue;
        us_u64 *own = &words.word[layer.first_word];
        std::fill_n(own, uint64_t{1} << layer.word_bits, 0);
        for (const auto &[unit, at] : layer.units)
            own[unit & ((uint64_t{1} << layer.word_bits) - 1)] =
                us_format_word(unit >> layer.word_bits, at.place, at.kind);
    }
}

us_table table_of(const Stack &stack) {
    us_table table{};
    table.nr_layers = static_cast<us_u32>(stack.size());
    for (size_t i = 0; i < stack.size(); i++) {
        const Layer &layer = stack[i];
        us_layer &out = table.layers[i];
        out.size = layer.size;
        out.type = static_cast<us_u16>(layer.type);
        out.first_link = static_cast<us_u16>(table.nr_links);
        out.nr_children = static_cast<us_u16>(layer.children.size());
        if (layer.chunk) out.param[0] = static_cast<uint64_t>(std::countr_zero(layer.chunk));
        if (layer.type == US_TYPE_PARTITION) out.param[0] = layer.start;
        if (is_format(layer)) {
            out.param[US_FORMAT_PLACE] = layer.first_word | uint64_t{layer.word_bits} << 32;
            out.param[US_FORMAT_CHILDREN] = 1 << 8; // units, and what a flush is for: the first
        }
        uint64_t start = 0;
        for (uint32_t child : layer.children) {
            us_link &link = table.links[table.nr_links++];
            link.layer = child;
            if (layer.type == US_TYPE_LINEAR) link.start = start;
            start += stack[child].size;
        }
    }
    return table;
}

us_live live_of(const Stack &stack) {
    us_live live{};
    for (size_t i = 0; i < stack.size(); i++) {
        const Words &words = stack[i].words;
        us_live_layer &out = live.layers[i];
        bool mirror = stack[i].type == US_TYPE_MIRROR;
        out.readable = mirror ? words.readable : ~0u;
        out.writable = mirror ? words.writable : ~0u;
        out.gate = words.looks;
        if (is_format(stack[i]))
            out.gate = words.open * US_LIVE_MAP_OPEN | stack[i].clean * US_LIVE_TABLES_CLEAN;
        if (mirror) out.gate = words.open * US_LIVE_WRITE_OPEN | words.unrecorded * US_LIVE_UNRECORDED;
        out.window_start =
            is_format(stack[i]) ? static_cast<uint64_t>(std::countr_zero(stack[i].unit)) : words.window_start;
        out.window_end = words.window_end;
    }
    return live;
}

uint32_t types_of(const Stack &stack) {
    uint32_t types = 0;
    for (const Layer &layer : stack)
        types |= 1u << layer.type;
    return types;
}

std::string text_of(const Stack &stack) {
    std::ostringstream out;
    for (size_t i = 0; i < stack.size(); i++) {
        const Layer &layer = stack[i];
        out << "  layer " << i << ": " << TYPES[layer.type] << " of " << layer.size << " bytes";
        if (layer.chunk) out << ", chunks of " << layer.chunk;
        if (layer.start) out << ", from " << layer.start;
        for (size_t c = 0; c < layer.children.size(); c++)
            out << (c ? ", " : ", on ") << layer.children[c];
        if (layer.type == US_TYPE_MIRROR)
            out << std::hex << "; readable " << layer.words.readable << ", writable " << layer.words.writable
                << std::dec << (layer.words.open ? ", open" : ", closed")
                << (layer.words.unrecorded ? ", a failure unrecorded" : "") << ", window "
                << layer.words.window_start << ".." << layer.words.window_end;
        if (is_format(layer)) {
            out << ", units of " << layer.unit << ", 2^" << layer.word_bits << " words, "
                << (layer.words.open ? "open" : "closed") << (layer.clean ? ", clean" : "");
            for (const auto &[unit, at] : layer.units)
                out << "; " << unit << " at " << at.place << " kind " << at.kind;
        }
        if (layer.type == US_TYPE_INSTRUMENT)
            out << std::hex << "; looks at " << layer.words.looks << std::dec << ", window "
                << layer.words.window_start << ".." << layer.words.window_end;
        out << "\n";
    }
    return out.str();
}

std::string text_of(const Request &request) {
    std::ostringstream out;
    out << OPS[request.op % std::size(OPS)] << " of layer " << request.root << " at " << request.offset
        << ", " << request.length << " bytes";
    return out.str();
}

std::string text_of(const Answer &answer) {
    std::ostringstream out;
    size_t shown = 0;
    for (const Piece &piece : answer.pieces) {
        if (shown++ == 8) {
            out << "(" << answer.pieces.size() << " pieces) ";
            break;
        }
        out << "[" << piece.layer << " at " << piece.offset << " +" << piece.length << " buffer "
            << piece.buffer << (piece.redirected ? " redirected] " : "] ");
    }
    out << ENDS[static_cast<size_t>(answer.end)];
    return out.str();
}

} // namespace us::differential
