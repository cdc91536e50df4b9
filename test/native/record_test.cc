// What a mirror's members are worth at a start: the pure decision, case by case.
#include "check.h"
#include "targets/config_error.h"
#include "targets/mirror/record.h"

namespace {

using us::MemberNow, us::MemberState, us::MirrorRecord, us::Predecessor, us::Start;

MemberNow media(const std::string &name, const std::string &identity, bool blank = false) {
    MemberNow member;
    member.name = name;
    member.identity = identity;
    member.blank_when_new = blank;
    return member;
}

MemberNow absent(const std::string &name) {
    MemberNow member;
    member.name = name;
    member.trouble = name + " cannot be opened";
    return member;
}

// "a=in-sync b=dropped": identities are the names' capitals, as media() is given below.
MirrorRecord record(std::vector<std::pair<std::string, MemberState>> members, bool dirty = false) {
    MirrorRecord out;
    out.id = "old-id";
    out.dirty = dirty;
    out.boot_id = "boot-1";
    for (auto &[name, state] : members)
        out.members.push_back(
            {name, std::string(1, static_cast<char>(toupper(name[0]))), state, "why", "then"});
    return out;
}

constexpr auto IN_SYNC = MemberState::in_sync, SYNCING = MemberState::syncing, DROPPED = MemberState::dropped;

Start decide(const std::optional<MirrorRecord> &past, const std::vector<MemberNow> &members,
             Predecessor predecessor = Predecessor::unknown) {
    return us::decide_start(past, members, {"safe", "boot-2", predecessor, "now", "fresh-id"});
}

std::string states(const Start &start) {
    std::string text;
    for (const us::MemberRecord &member : start.record.members)
        text += (text.empty() ? "" : " ") + member.name + "=" + us::state_name(member.state);
    return text;
}

std::string refusal(const std::optional<MirrorRecord> &past, const std::vector<MemberNow> &members) {
    try {
        decide(past, members);
    } catch (const us::ConfigError &error) {
        return error.code;
    }
    return "";
}

} // namespace

TEST(start_without_a_record) {
    CHECK_EQ(states(decide({}, {media("a", "A", true), media("b", "B", true)})), "a=in-sync b=in-sync");
    CHECK_EQ(states(decide({}, {media("a", "A"), media("b", "B")})), "a=in-sync b=syncing");
    CHECK_EQ(states(decide({}, {media("a", "A", true), media("b", "B")})), "a=syncing b=in-sync");
    CHECK_EQ(decide({}, {media("a", "A")}).record.id, "fresh-id");
    CHECK_EQ(refusal({}, {media("a", "A"), absent("b")}), "path-missing");
}

TEST(start_keeps_what_is_on_record) {
    auto past = record({{"a", IN_SYNC}, {"b", DROPPED}, {"c", SYNCING}});
    Start start = decide(past, {media("a", "A"), media("b", "B"), media("c", "C")});
    CHECK_EQ(states(start), "a=in-sync b=dropped c=syncing");
    CHECK_EQ(start.resumable, 4u);
    CHECK_EQ(start.record.id, "old-id");
    CHECK_EQ(start.record.boot_id, "boot-2");
    CHECK_EQ(start.record.generation, 1u);
    CHECK_EQ(start.record.members[1].since, "then");
}

TEST(start_with_new_replaced_and_absent_members) {
    auto past = record({{"a", IN_SYNC}, {"b", IN_SYNC}});
    CHECK_EQ(states(decide(past, {media("a", "A"), media("b", "other")})), "a=in-sync b=syncing");
    CHECK_EQ(states(decide(past, {media("a", "A"), media("b", "B"), media("n", "N", true)})),
             "a=in-sync b=in-sync n=syncing");
    CHECK_EQ(states(decide(past, {media("a", "A"), absent("b")})), "a=in-sync b=dropped");
    CHECK_EQ(states(decide(past, {media("b", "B")})), "b=in-sync");
    CHECK_EQ(refusal(past, {absent("a"), absent("b")}), "member-dropped");
}

TEST(start_never_takes_a_member_that_was_left_behind) {
    auto past = record({{"a", IN_SYNC}, {"b", DROPPED}});
    CHECK_EQ(refusal(past, {absent("a"), media("b", "B")}), "member-dropped");
    CHECK_EQ(refusal(past, {media("b", "B")}), "member-dropped");
    CHECK_EQ(refusal(past, {media("a", "new", true), media("b", "B")}), "member-dropped");
    // Not even under the name of the other.
    CHECK_EQ(states(decide(past, {media("a", "B"), media("b", "A")})), "a=dropped b=in-sync");
    CHECK_EQ(refusal(record({{"a", IN_SYNC}, {"b", SYNCING}}), {media("b", "B")}), "member-dropped");
}

TEST(start_with_all_media_moved_or_made_anew) {
    auto past = record({{"a", DROPPED}, {"b", IN_SYNC}});
    Start moved = decide(past, {media("a", "x"), media("b", "y")});
    CHECK_EQ(states(moved), "a=syncing b=in-sync");
    CHECK_EQ(moved.record.id, "fresh-id");
    CHECK_EQ(states(decide(past, {media("a", "x", true), media("b", "y", true)})), "a=in-sync b=in-sync");
}

TEST(start_after_an_unclean_end) {
    auto past = record({{"a", DROPPED}, {"b", IN_SYNC}, {"c", IN_SYNC}}, true);
    std::vector<MemberNow> members = {media("a", "A"), media("b", "B"), media("c", "C")};
    CHECK_EQ(states(decide(past, members)), "a=dropped b=in-sync c=syncing");
    CHECK(!decide(past, members).record.dirty);
    for (Predecessor known : {Predecessor::same, Predecessor::idle}) {
        CHECK_EQ(states(decide(past, members, known)), "a=dropped b=in-sync c=in-sync");
        CHECK(decide(past, members, known).record.dirty);
    }
}

TEST(records_are_read_as_they_were_written_and_nonsense_is_none) {
    auto past = record({{"a", IN_SYNC}, {"b", DROPPED}, {"c", SYNCING}}, true);
    auto read = us::parse_record(us::print_record(past));
    CHECK(read.has_value());
    CHECK_EQ(us::print_record(*read), us::print_record(past));
    std::string text = us::print_record(past);
    for (size_t length = 0; length + 2 < text.size(); length++)
        CHECK(!us::parse_record(text.substr(0, length)));
    for (const char *nonsense : {"", "null", "[]", "{}", "{\"version\":2}", "{\"version\":1,\"members\":7}"})
        CHECK(!us::parse_record(nonsense));
}
