// A stack as its user means it, and a table made of it. The model reads the stack; the engines read the
// table.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/table.h"

namespace us::differential {

// What may change while IO runs, of a mirror or of an instrument.
struct Words {
    uint32_t readable = 0, writable = 0; // of a mirror: sets of children
    bool open = true, unrecorded = false;
    uint32_t looks = 0;                        // of an instrument: a set of operations
    uint64_t window_start = 0, window_end = 0; // where a mirror is copied; where an instrument looks
};

// Where a unit of a format lies, as its handler has said: enum us_format_kind.
struct Unit {
    uint64_t place = 0;
    uint32_t kind = 0;
};

struct Layer {
    us_type type = US_TYPE_FILE;
    uint64_t size = 0;
    uint64_t chunk = 0; // of a stripe
    uint64_t start = 0; // of a partition, in its child's bytes
    uint64_t unit = 0;  // bytes; of a format, whose second child is what shines through
    bool clean = false; // of a format: a flush may pass
    std::map<uint64_t, Unit> units;
    uint32_t first_word = 0, word_bits = 0; // of a format: place_words()
    std::vector<uint32_t> children;
    Words words;
};

using Stack = std::vector<Layer>;

struct Request {
    uint32_t root = 0;
    us_op op = US_OP_READ;
    uint64_t offset = 0, length = 0;
};

struct Piece {
    uint32_t layer = 0;
    uint64_t offset = 0, length = 0, buffer = 0;
    bool redirected = false;
    bool operator==(const Piece &) const = default;
};

enum class End { end, redirect, bad, full, unasked, refused };

struct Answer {
    End end = End::unasked;
    std::vector<Piece> pieces;
    bool operator==(const Answer &) const = default;
};

// SplitMix64 (Steele, Lea, Flood 2014): any seed will do, and a case is found again by its seed alone.
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next() {
        uint64_t z = state_ += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
    uint64_t below(uint64_t limit) { return next() % limit; }
    uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
    bool one_in(uint64_t n) { return below(n) == 0; }

  private:
    uint64_t state_;
};

bool is_leaf(const Layer &layer);
// Whether what becomes of a sector may depend on the rest of the request: a redirect takes a request whole.
bool has_windows(const Stack &stack);
// The words of a layer whose engine leaves all of it to the server.
Words words_of_server();
// Legal by construction: every layer fits its children, at most eight levels, children behind their parents.
Stack random_stack(Random &random);
void random_words(Random &random, Stack &stack);
Request random_request(Random &random, const Stack &stack);
// Whatever bits there may be: nothing that a compiler of stacks would make.
us_table hostile_table(Random &random);
us_live hostile_live(Random &random);
Request hostile_request(Random &random);

// Sizes and chunks of all layers, from the leaves up; false where some layer would hold nothing.
bool settle(Stack &stack);

// Where the words of the stack's formats are to lie, from `first` on, which is moved behind them; and these
// words.
void place_words(Stack &stack, uint32_t &first);
void write_words(const Stack &stack, us_words &words);
us_table table_of(const Stack &stack);
us_live live_of(const Stack &stack);
uint32_t types_of(const Stack &stack);

std::string text_of(const Stack &stack);
std::string text_of(const Request &request);
std::string text_of(const Answer &answer);

} // namespace us::differential
