// Flushes that overlap: none is concluded before all that might fail in its place.
#include "check.h"
#include "engine/leaf_op.h"
#include "engine/sync_order.h"

namespace {

using us::LeafOp, us::SyncOrder;

} // namespace

TEST(a_flush_alone_is_not_held) {
    SyncOrder order;
    LeafOp op;
    CHECK(order.end(order.begin()).empty());
    CHECK(!order.hold(op));
}

TEST(a_flush_is_held_until_those_that_overlap_it_have_ended) {
    SyncOrder order;
    LeafOp second;
    uint64_t one = order.begin(), two = order.begin(), three = order.begin();
    CHECK(order.end(two).empty());
    CHECK(order.hold(second));
    uint64_t later = order.begin(); // begun after the second had ended: it is not waited for
    CHECK(order.end(three).empty());
    auto free = order.end(one);
    CHECK_EQ(free.size(), 1u);
    CHECK(free[0] == &second);
    CHECK(order.end(later).empty());
}

TEST(flushes_that_overlap_one_after_the_other_do_not_wait_for_ever) {
    SyncOrder order;
    LeafOp ops[100];
    uint64_t before = order.begin();
    for (LeafOp &op : ops) {
        uint64_t next = order.begin();
        size_t free = order.end(before).size();
        CHECK(free <= 1);
        CHECK(order.hold(op));
        before = next;
    }
    CHECK_EQ(order.end(before).size(), 1u);
}
