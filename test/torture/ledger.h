// What was promised: for each sector of the device, the values that may be there.
//
//     write begun       the old values or the new one
//     write succeeded   the new one alone; the old ones after a power cut only
//     flush succeeded   what was superseded before it was begun is gone for good
//     value read        that one alone from now on: reads do not alternate
//     power cut         any value that is not gone; once one has been read it is durable
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sectors.h"

class Ledger {
  public:
    // initial: what the device shows before anything is written.
    explicit Ledger(const std::vector<Content> &initial) : cells_(initial.size()) {
        for (size_t i = 0; i < initial.size(); i++)
            cells_[i].values[0].content = initial[i];
    }

    // Grows with every event: a point in time.
    uint64_t now() { return ++clock_; }

    // Whether a write may begin: nobody else writes there, and there is room to remember one value more.
    bool free(uint64_t sector, uint64_t oldest_read) const;
    void write_begins(uint64_t sector, Content value, uint64_t oldest_read);
    void write_ends(uint64_t sector, Content value, bool succeeded, bool durable);
    void flush_ends(uint64_t began, bool succeeded);

    // Empty when `value` was allowed at any moment since `began`, else what would have been.
    std::string read_ends(uint64_t sector, Content value, uint64_t began);
    // Whether a read of now would have to be `value`, or could be.
    bool allows(uint64_t sector, Content value) const;

    void server_killed();
    void power_cut();

    size_t size() const { return cells_.size(); }

  private:
    static constexpr uint64_t CURRENT = UINT64_MAX;
    struct Value {
        uint64_t superseded; // when; CURRENT: it may be there now
        Content content;
        bool gone; // not even a power cut brings it back
    };
    struct Cell {
        std::array<Value, 7> values{Value{CURRENT, 0, false}};
        uint8_t nr = 1;
        bool writing = false;
        bool doubtful = false; // a flush failed since: later ones prove nothing of older writes
        bool booted = false;   // nothing written since the power cut
        uint64_t changed = 0;  // the last write's begin or end
    };

    static void supersede_others(Cell &cell, Content kept, uint64_t when, bool gone);

    std::vector<Cell> cells_;
    uint64_t clock_ = 0;
};
