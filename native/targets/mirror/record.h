// The durable state of a mirror: STATE/mirror-LAYER.json, and what a start makes of it.
//
//     in-sync ──write or read failed──▶ dropped ──readd──▶ syncing ──copied, flushed──▶ in-sync
//        ▲                                                    ▲
//        └── all new and blank             new or replaced ───┘, or behind after an unclean end
//
// Written before it takes effect: dirty before the first write, dropped before the write that one member
// missed is acknowledged, in-sync after the member has been flushed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "targets/handler.h"

namespace us {

enum class MemberState { in_sync, syncing, dropped };

struct MemberRecord {
    std::string name;
    std::string identity;
    MemberState state = MemberState::syncing;
    std::string reason; // of syncing and dropped
    std::string since;  // UTC, ISO 8601; of the last change of state
};

struct MirrorRecord {
    std::string id;                    // names the content: a mirror above this one sees when it is another
    std::vector<MemberRecord> members; // in the order of the children
    bool dirty = false;                // members may differ where writes were in flight
    std::string boot_id;               // of the last change
    uint64_t generation = 0;           // grows with every write of the file
};

const char *state_name(MemberState state);

std::string print_record(const MirrorRecord &record);

// Nothing when the text is not a record.
std::optional<MirrorRecord> parse_record(const std::string &text);

struct Start {
    MirrorRecord record;
    uint32_t resumable =
        0; // members that were being copied to already: a known position still holds for them
    std::vector<std::string> notices;
};

struct Circumstances {
    std::string layer;
    std::string boot_id;
    Predecessor predecessor = Predecessor::unknown;
    std::string now;      // UTC, ISO 8601
    std::string fresh_id; // for content that is another than before
};

// What the members are worth now. Pure. `past` is nothing when there is no record, or none that makes sense.
// Throws ConfigError (code member-dropped, or the trouble of a member) when no member holds current data.
Start decide_start(const std::optional<MirrorRecord> &past, const std::vector<MemberNow> &members,
                   const Circumstances &circumstances);

} // namespace us
