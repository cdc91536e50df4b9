// Compressed clusters. Specification: "Compressed Clusters Descriptor" and compression_type.
//
//     zlib    RFC 1951, without a header; a window of at most 2^12 bytes (QEMU's inflateInit2(-12))
//     zstd    RFC 8878: one frame or more
#pragma once

#include <cstddef>
#include <span>

#include "targets/qcow2/format.h"

namespace us::qcow2 {

// Fills all of `cluster` from `data`, which may go on behind what is needed: its length is known in sectors
// only. False when the data are damaged or end too early; `cluster` has any content then. Memory is bounded,
// whatever the data say.
bool inflate(Compression type, std::span<const std::byte> data, std::span<std::byte> cluster);

} // namespace us::qcow2
