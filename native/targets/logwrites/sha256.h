// SHA-256 (FIPS 180-4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace us {

// Hexadecimal, as sha256sum prints it.
std::string sha256(std::span<const std::byte> data);

} // namespace us
