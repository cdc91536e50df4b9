/* A format: a disk image, whose handler says where units of the disk lie on the layers below, word by word
 * (targets/format_words.h). What it has not said goes to the handler, which says it then: so the next request
 * for the same unit does not.
 *
 *     word      63 ........... 42   41 ................. 2   1 0
 *               unit >> bits        unit of the child        kind
 *
 *     place     word[first + (unit & (1 << bits) - 1)]      two units may want one place: the latter has it
 *
 *   live.gate           US_LIVE_MAP_OPEN: words may be acted upon
 *                       US_LIVE_TABLES_CLEAN: a flush of what lies below is a flush of the disk
 *   live.window_start   log2 of a unit's bytes, while the map is open
 *
 * A word is read after the request's in-flight slot is published. Whoever takes one back and then waits until
 * all that was in flight has ended knows that nobody acts on it any more. */
#ifndef US_CORE_FORMAT_H
#define US_CORE_FORMAT_H

#include "step.h"

#define US_FORMAT_PLACE 0    /* param: first | bits << 32 */
#define US_FORMAT_CHILDREN 1 /* param: the child with the units | number of children that a flush is for << 8 */

#define US_FORMAT_BELOW 1 /* the child that is read where the image has nothing of its own */

enum us_format_kind {
    US_FORMAT_UNKNOWN = 0,
    US_FORMAT_SHARED = 1, /* may be read where it lies, and not written */
    US_FORMAT_OWN = 2,    /* … and written */
    US_FORMAT_SHINES = 3, /* reads what US_FORMAT_BELOW has at the same offset */
};

#define US_FORMAT_UNIT_BITS 40
#define US_FORMAT_TAG_SHIFT 42
#define US_FORMAT_TAG_BITS 22

/* Units that one step places at most, where they lie side by side. */
#define US_FORMAT_MAX_UNITS 32

/* tag < 1 << US_FORMAT_TAG_BITS, place < 1 << US_FORMAT_UNIT_BITS. */
US_INLINE us_u64 us_format_word(us_u64 tag, us_u64 place, us_u32 kind) {
    return tag << US_FORMAT_TAG_SHIFT | place << 2 | kind;
}

US_INLINE us_u64 us_format_look(const struct us_words *words, us_u32 first, us_u32 bits, us_u64 unit) {
    us_u64 place = unit & ((1ULL << bits) - 1);
    return US_READ_ONCE(words->word[US_BOUND(first + (us_u32)place, US_MAX_WORDS)]);
}

US_INLINE struct us_step us_format_flush(const struct us_layer *layer, const struct us_live_layer *live) {
    if (!(US_READ_ONCE(live->gate) & US_LIVE_TABLES_CLEAN)) return us_step_redirect();
    return us_step_all((us_u32)(layer->param[US_FORMAT_CHILDREN] >> 8 & 0xff), 0, 0);
}

/* words: NULL where an engine has none. below_bytes: the size of the child US_FORMAT_BELOW. */
US_INLINE struct us_step us_format_map(const struct us_layer *layer, const struct us_live_layer *live,
                                       const struct us_words *words, us_u64 below_bytes, us_u32 op,
                                       us_u64 offset, us_u64 length) {
    if (op == US_OP_FLUSH) return us_format_flush(layer, live);
    if (!words || op > US_OP_WRITE || !(US_READ_ONCE(live->gate) & US_LIVE_MAP_OPEN))
        return us_step_redirect();

    us_u32 shift = (us_u32)US_READ_ONCE(live->window_start) & 63;
    us_u32 first = (us_u32)layer->param[US_FORMAT_PLACE],
           bits = (us_u32)(layer->param[US_FORMAT_PLACE] >> 32) & 31;
    us_u64 bytes = 1ULL << shift, unit = offset >> shift, within = offset & (bytes - 1);
    us_u64 word = us_format_look(words, first, bits, unit);
    us_u32 kind = word & 3;
    if (word >> US_FORMAT_TAG_SHIFT != unit >> bits || kind == US_FORMAT_UNKNOWN) return us_step_redirect();
    if (op == US_OP_WRITE && kind != US_FORMAT_OWN) return us_step_redirect();

    us_u64 place = word >> 2 & ((1ULL << US_FORMAT_UNIT_BITS) - 1);
    us_u64 onward = kind == US_FORMAT_SHINES ? 0 : 1; /* from one unit's place to the next one's */
    us_u64 n = us_min(length, bytes - within);
    for (us_u32 i = 1; i < US_FORMAT_MAX_UNITS; i++) {
        if (n >= length) break;
        us_u64 next = us_format_look(words, first, bits, unit + i);
        if (next != us_format_word((unit + i) >> bits, place + i * onward, kind)) break;
        n = us_min(length, n + bytes);
    }
    if (kind != US_FORMAT_SHINES)
        return us_step_one((us_u32)layer->param[US_FORMAT_CHILDREN] & 0xff, (place << shift) + within, n,
                           length);
    /* Behind the end of what shines through there are zeros, of which the handler knows. */
    if (offset > below_bytes || n > below_bytes - offset) return us_step_redirect();
    return us_step_one(US_FORMAT_BELOW, offset, n, length);
}

#endif
