// The refcounts as a whole, for what makes an image smaller.
#include <algorithm>
#include <cerrno>

#include "targets/qcow2/next_refcounts.h"

namespace us::qcow2 {

Task<int> NextRefcounts::load_all() {
    for (uint64_t number = 0; number < table_.size(); number++)
        if (place_of(number) != 0)
            if (int error = co_await load_block(number)) co_return error;
    co_return 0;
}

// From the end on: a block may speak of one behind it, and of nothing else. It stays known that nothing may
// be written where one lies as long as the old table leads to it.
int NextRefcounts::drop_empty(uint64_t &dropped) {
    dropped = 0;
    for (uint64_t number = table_.size(); number-- > 0;) {
        uint64_t place = place_of(number);
        if (place == 0) continue;
        bool within = block_of(place) == number;
        uint64_t others = 0;
        Block &block = blocks_.at(number);
        for (uint64_t i = 0; i < per_block() && others == 0; i++)
            others += refcount_at(block.refcounts.data(), h_.refcount_order, i) != 0 &&
                      !(within && i == place / cluster() % per_block());
        if (others != 0) continue;
        if (int error = add({place, cluster()}, -1)) return error;
        table_[number] = 0;
        block.changed = false;
        std::erase(unplaced_, number);
        dropped++;
    }
    return 0;
}

void NextRefcounts::move(uint64_t number) {
    if (!std::exchange(blocks_.at(number).changed, true)) unplaced_.push_back(number);
}

} // namespace us::qcow2
