#include "targets/logwrites/sha256.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace us {

namespace {

using State = std::array<uint32_t, 8>;

// The first 32 bits of the fractional parts of roots of the first primes (FIPS 180-4, 4.2.2 and 5.3.3).
struct Constants {
    std::array<uint32_t, 64> round;
    State start;

    Constants() {
        uint32_t found = 0;
        for (uint32_t n = 2; found < round.size(); n++) {
            bool prime = true;
            for (uint32_t d = 2; d * d <= n; d++)
                prime &= n % d != 0;
            if (!prime) continue;
            round[found] = fraction(std::cbrt(static_cast<long double>(n)));
            if (found < start.size()) start[found] = fraction(std::sqrt(static_cast<long double>(n)));
            found++;
        }
    }

    static uint32_t fraction(long double root) {
        return static_cast<uint32_t>(std::floor((root - std::floor(root)) * 0x1p32L));
    }
};

const Constants &constants() {
    static const Constants all;
    return all;
}

uint32_t big_endian(const std::byte *at) {
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return __builtin_bswap32(word);
}

void block(State &state, const std::byte *data) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++)
        w[i] = big_endian(data + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
               (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    auto [a, b, c, d, e, f, g, h] = state;
    for (int i = 0; i < 64; i++) {
        uint32_t one = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) +
                       constants().round[i] + w[i];
        uint32_t two =
            (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + one, d = c, c = b, b = a, a = one + two;
    }
    const uint32_t add[] = {a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < state.size(); i++)
        state[i] += add[i];
}

} // namespace

std::string sha256(std::span<const std::byte> data) {
    State state = constants().start;
    size_t whole = data.size() / 64 * 64, rest = data.size() - whole;
    for (size_t at = 0; at < whole; at += 64)
        block(state, data.data() + at);

    std::byte tail[128] = {};
    if (rest > 0) memcpy(tail, data.data() + whole, rest);
    tail[rest] = std::byte{0x80};
    size_t length = rest + 9 <= 64 ? 64 : 128;
    uint64_t bits = __builtin_bswap64(uint64_t{data.size()} * 8);
    memcpy(tail + length - sizeof bits, &bits, sizeof bits);
    for (size_t at = 0; at < length; at += 64)
        block(state, tail + at);

    std::string text;
    for (uint32_t word : state)
        for (int shift = 28; shift >= 0; shift -= 4)
            text += "0123456789abcdef"[word >> shift & 15];
    return text;
}

} // namespace us
