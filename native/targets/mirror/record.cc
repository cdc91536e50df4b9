#include "targets/mirror/record.h"

#include <nlohmann/json.hpp>

#include "targets/config_error.h"

namespace us {

namespace {

using nlohmann::json;

constexpr int VERSION = 1;

std::optional<MemberState> state_of(const std::string &name) {
    for (MemberState state : {MemberState::in_sync, MemberState::syncing, MemberState::dropped})
        if (name == state_name(state)) return state;
    return std::nullopt;
}

class Decision {
  public:
    Decision(const std::optional<MirrorRecord> &past, const std::vector<MemberNow> &members,
             const Circumstances &is)
        : past_(past), members_(members), is_(is) {}

    Start decide() {
        if (!past_) refuse_absent();
        MirrorRecord &record = start_.record;
        record.id = past_ ? past_->id : is_.fresh_id;
        record.boot_id = is_.boot_id;
        record.generation = (past_ ? past_->generation : 0) + 1;
        for (size_t i = 0; i < members_.size(); i++)
            record.members.push_back(first_guess(i));
        if (all_new_and_blank())
            for (size_t i = 0; i < members_.size(); i++)
                take_as_current(i);
        else if (!any_in_sync())
            choose_source();
        if (past_ && past_->dirty) after_dirty();
        return std::move(start_);
    }

  private:
    // A mirror that has no past is made of all of its members.
    void refuse_absent() const {
        for (const MemberNow &member : members_)
            if (!member.identity) throw ConfigError("path-missing", member.trouble, is_.layer);
    }

    const MemberRecord *by_name(const MemberNow &member) const {
        if (past_)
            for (const MemberRecord &before : past_->members)
                if (before.name == member.name) return &before;
        return nullptr;
    }

    // The record of these very media, even under another name: what was left behind stays so when it is
    // renamed.
    const MemberRecord *by_media(const MemberNow &member) const {
        const MemberRecord *same_name = by_name(member);
        if (!past_ || !member.identity) return nullptr;
        if (same_name && same_name->identity == *member.identity) return same_name;
        for (const MemberRecord &before : past_->members)
            if (before.identity == *member.identity) return &before;
        return nullptr;
    }

    MemberRecord first_guess(size_t i) {
        const MemberNow &member = members_[i];
        const MemberRecord *named = by_name(member);
        if (!member.identity) {
            if (named && named->state == MemberState::dropped) return *named;
            start_.notices.push_back("member \"" + member.name + "\" is dropped: " + member.trouble);
            return {member.name, named ? named->identity : "", MemberState::dropped, member.trouble, is_.now};
        }
        if (const MemberRecord *before = by_media(member)) {
            if (before->state == MemberState::syncing) start_.resumable |= 1u << i;
            MemberRecord kept = *before;
            kept.name = member.name;
            return kept;
        }
        std::string reason = !past_ ? "no state was known" : named ? "its media were replaced" : "it is new";
        return {member.name, *member.identity, MemberState::syncing, reason, is_.now};
    }

    bool all_new_and_blank() const {
        for (const MemberNow &member : members_)
            if (!member.identity || by_media(member) || !member.blank_when_new) return false;
        return true;
    }

    bool any_in_sync() const {
        for (const MemberRecord &member : start_.record.members)
            if (member.state == MemberState::in_sync) return true;
        return false;
    }

    void take_as_current(size_t i) {
        MemberRecord &member = start_.record.members[i];
        member = {member.name, member.identity, MemberState::in_sync, "", is_.now};
        start_.record.id = is_.fresh_id;
    }

    // Nobody is known to be current. Without a record the first member that is not blank counts; with one, a
    // member that was current by its name, for its media have been moved or restored. Never one that was left
    // behind.
    void choose_source() {
        for (size_t i = 0; i < members_.size(); i++) {
            const MemberRecord *named = by_name(members_[i]);
            bool candidate = members_[i].identity && !members_[i].blank_when_new && !by_media(members_[i]) &&
                             (!past_ || (named && named->state == MemberState::in_sync));
            if (!candidate) continue;
            if (past_)
                start_.notices.push_back("the media of member \"" + members_[i].name +
                                         "\" are new, and taken for current, since no other member is");
            take_as_current(i);
            return;
        }
        std::string why;
        for (const MemberRecord &member : start_.record.members)
            why += (why.empty() ? "" : "; ") + member.name + " is " + state_name(member.state) + ": " +
                   member.reason;
        throw ConfigError("member-dropped",
                          "no member of mirror \"" + is_.layer + "\" holds current data (" + why + ")",
                          is_.layer);
    }

    void after_dirty() {
        start_.record.dirty = is_.predecessor != Predecessor::unknown; // then the slots tell what may differ
        if (start_.record.dirty) return;
        bool source_seen = false;
        for (MemberRecord &member : start_.record.members) {
            if (member.state != MemberState::in_sync) continue;
            if (source_seen)
                member = {member.name, member.identity, MemberState::syncing,
                          "it may differ since the last run did not end cleanly", is_.now};
            source_seen = true;
        }
        start_.resumable = 0;
    }

    const std::optional<MirrorRecord> &past_;
    const std::vector<MemberNow> &members_;
    const Circumstances &is_;
    Start start_;
};

} // namespace

const char *state_name(MemberState state) {
    constexpr const char *names[] = {"in-sync", "syncing", "dropped"};
    return names[static_cast<int>(state)];
}

std::string print_record(const MirrorRecord &record) {
    nlohmann::ordered_json members = nlohmann::ordered_json::array();
    for (const MemberRecord &m : record.members)
        members.push_back({{"name", m.name},
                           {"identity", m.identity},
                           {"state", state_name(m.state)},
                           {"reason", m.reason},
                           {"since", m.since}});
    nlohmann::ordered_json out = {{"version", VERSION},       {"id", record.id},
                                  {"members", members},       {"dirty", record.dirty},
                                  {"bootId", record.boot_id}, {"generation", record.generation}};
    return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

std::optional<MirrorRecord> parse_record(const std::string &text) {
    try {
        json in = json::parse(text);
        if (in.at("version") != VERSION) return std::nullopt;
        MirrorRecord record;
        record.id = in.at("id");
        for (const json &m : in.at("members")) {
            auto state = state_of(m.at("state"));
            if (!state) return std::nullopt;
            record.members.push_back({m.at("name"), m.at("identity"), *state, m.at("reason"), m.at("since")});
        }
        record.dirty = in.at("dirty");
        record.boot_id = in.at("bootId");
        record.generation = in.at("generation");
        return record;
    } catch (const json::exception &) {
        return std::nullopt;
    }
}

Start decide_start(const std::optional<MirrorRecord> &past, const std::vector<MemberNow> &members,
                   const Circumstances &circumstances) {
    return Decision(past, members, circumstances).decide();
}

} // namespace us
