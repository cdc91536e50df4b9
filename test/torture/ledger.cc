#include "ledger.h"

#include <algorithm>

namespace {

bool is_over(bool gone, uint64_t superseded, uint64_t oldest_read) {
    return gone && superseded < oldest_read;
}

} // namespace

void Ledger::supersede_others(Cell &cell, Content kept, uint64_t when, bool gone) {
    for (uint8_t i = 0; i < cell.nr; i++) {
        Value &v = cell.values[i];
        if (v.content == kept) continue;
        v.superseded = std::min(v.superseded, when);
        v.gone |= gone;
    }
}

bool Ledger::free(uint64_t sector, uint64_t oldest_read) const {
    const Cell &cell = cells_[sector];
    if (cell.writing) return false;
    size_t kept = 0;
    for (uint8_t i = 0; i < cell.nr; i++)
        kept += !is_over(cell.values[i].gone, cell.values[i].superseded, oldest_read);
    return kept < cell.values.size();
}

void Ledger::write_begins(uint64_t sector, Content value, uint64_t oldest_read) {
    Cell &cell = cells_[sector];
    auto end = cell.values.begin() + cell.nr;
    end = std::remove_if(cell.values.begin(), end,
                         [&](const Value &v) { return is_over(v.gone, v.superseded, oldest_read); });
    auto same = std::find_if(cell.values.begin(), end, [&](const Value &v) { return v.content == value; });
    if (same == end) ++end;
    *same = {CURRENT, value, false};
    cell.nr = static_cast<uint8_t>(end - cell.values.begin());
    cell.writing = true;
    cell.booted = false;
    cell.changed = now();
}

void Ledger::write_ends(uint64_t sector, Content value, bool succeeded, bool durable) {
    Cell &cell = cells_[sector];
    cell.writing = false;
    cell.changed = now();
    if (!succeeded) return;
    supersede_others(cell, value, clock_, durable);
    cell.doubtful = false;
}

void Ledger::flush_ends(uint64_t began, bool succeeded) {
    for (Cell &cell : cells_) {
        if (cell.nr == 1) continue;
        if (!succeeded) cell.doubtful = true;
        if (cell.doubtful) continue;
        for (uint8_t i = 0; i < cell.nr; i++)
            cell.values[i].gone |= cell.values[i].superseded < began;
    }
}

std::string Ledger::read_ends(uint64_t sector, Content value, uint64_t began) {
    Cell &cell = cells_[sector];
    std::string allowed;
    for (uint8_t i = 0; i < cell.nr; i++) {
        const Value &v = cell.values[i];
        if (v.superseded < began) continue;
        if (v.content != value) {
            allowed += (allowed.empty() ? "" : " or ") + std::to_string(v.content);
            continue;
        }
        bool stable = !cell.writing && cell.changed < began && v.superseded == CURRENT;
        if (stable) supersede_others(cell, value, now(), cell.booted);
        return {};
    }
    return allowed;
}

bool Ledger::allows(uint64_t sector, Content value) const {
    const Cell &cell = cells_[sector];
    for (uint8_t i = 0; i < cell.nr; i++)
        if (cell.values[i].content == value && cell.values[i].superseded == CURRENT) return true;
    return false;
}

void Ledger::server_killed() {
    for (Cell &cell : cells_)
        cell.writing = false;
}

void Ledger::power_cut() {
    for (Cell &cell : cells_) {
        auto end = std::remove_if(cell.values.begin(), cell.values.begin() + cell.nr,
                                  [](const Value &v) { return v.gone; });
        cell.nr = static_cast<uint8_t>(end - cell.values.begin());
        for (uint8_t i = 0; i < cell.nr; i++)
            cell.values[i].superseded = CURRENT;
        cell.writing = cell.doubtful = false;
        cell.booted = true;
    }
}
