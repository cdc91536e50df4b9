// Refcounts set right by counting, and the COPIED bits that follow from them: of an image that is dirty,
// whose refcounts were left for later and may be too low, or of one in which a power cut has left leaks.
//
//     count ─▶ dirty bit on ─▶ FLUSH
//           ─▶ refcounts set right; missing blocks made, and a larger table where they need one ─▶ FLUSH
//           ─▶ their places in the table, or the table's in the header ─▶ FLUSH ─▶ the old table given up
//           ─▶ COPIED bits ─▶ FLUSH ─▶ dirty bit off ─▶ FLUSH
//
// A power cut at any moment leaves an image that is dirty, and is counted anew, or one that is not, and is
// either as it was or whole. Version 2 has no such bit: there no write makes a refcount less true than it
// was.
#pragma once

#include <optional>
#include <string>

#include "targets/qcow2/header.h"
#include "targets/qcow2/media.h"

namespace us::qcow2 {

struct Repaired {
    // -errno: what was done until then is no worse than what was there before, and may be done again.
    int error = 0;
    // More is wrong with it than counting can set right, in words for the user: it is left as it was.
    std::optional<std::string> refusal;
    uint64_t corruptions = 0, leaks = 0; // that were found, and are gone without an error or refusal
};

// Whether nothing may be written before repair(): what the refcounts call free may be in use.
inline bool needs_repair(const Header &header) {
    return header.has(INCOMPATIBLE_DIRTY);
}

// header: as parse_header() has found it on the media; as it is afterwards. Nothing else uses the image
// meanwhile. Reads all metadata; memory as check().
Task<Repaired> repair(Media &media, Header &header);

} // namespace us::qcow2
