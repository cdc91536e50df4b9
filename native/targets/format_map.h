// What a format tells the mapping core of the places of its units, so that requests for them need no handler
// (core/format.h). A unit's word is acted upon by requests that are under way, by any queue and in the kernel:
//
//     put()            under the unit's turn, and of what was looked up since generation() was asked
//     take_back()      before the unit's entry changes. What was given up by that is free once those that were
//                      in flight then have passed()
//     close(), open()  around what changes entries without their turns, or forbids to write where a unit lies
//     grace()          nobody acts any more on what was taken back, or closed, before it
#pragma once

#include "core/format.h"
#include "targets/inflight.h"
#include "targets/task.h"

namespace us {

class Executor;

class FormatMap {
  public:
    virtual ~FormatMap() = default;

    // Units of 1 << shift bytes. As often as it was closed; it is closed once to begin with.
    virtual void open(uint32_t shift) = 0;
    virtual void close() = 0;
    virtual uint64_t generation() const = 0;

    // place: the unit's number on the child. What does not fit is not put.
    virtual void put(uint64_t generation, uint64_t unit, uint64_t place, us_format_kind kind) = 0;
    virtual void take_back(uint64_t unit, uint64_t count) = 0;

    // False when the queue stops.
    virtual Task<bool> grace(Executor &executor) = 0;
    // Those in flight now; and whether all of them have ended.
    virtual Inflight::Older older() const = 0;
    virtual bool passed(Inflight::Older &older) const = 0;

    // Whether a flush of the children is all that a flush has to do.
    virtual void set_clean(bool clean) = 0;
};

} // namespace us
