// When a queue's thread lets the task that submits go on first.
#include "core/crowd.h"

#include "check.h"

namespace {

// Turns of these many requests each, over and over; how often the answer changed.
int after(us_crowd &crowd, int rounds, std::initializer_list<us_u64> turns) {
    int changes = 0;
    for (int i = 0; i < rounds; i++)
        for (us_u64 requests : turns)
            changes += us_crowd_turn(&crowd, requests);
    return changes;
}

} // namespace

TEST(crowd_is_not_seen_in_single_requests_or_pairs) {
    us_crowd crowd{};
    CHECK_EQ(after(crowd, 10000, {1, 1, 1, 2}), 0);
    CHECK_EQ(after(crowd, 10000, {2}), 0);
    CHECK_EQ(crowd.crowded, 0u);
}

TEST(crowd_is_seen_though_most_turns_see_one_request) {
    us_crowd crowd{};
    CHECK_EQ(after(crowd, 100, {1, 1, 1, 1, 1, 1, 1, 32}), 1);
    CHECK_EQ(crowd.crowded, 1u);
}

TEST(crowd_is_forgotten_once_requests_come_alone) {
    us_crowd crowd{};
    after(crowd, 1, {1000});
    CHECK_EQ(crowd.crowded, 1u);
    CHECK_EQ(after(crowd, US_CROWD_FULL - 1, {1}), 0);
    CHECK_EQ(after(crowd, 1, {1}), 1);
    CHECK_EQ(crowd.crowded, 0u);
}
