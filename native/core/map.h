/* The registry of mapping layers: the one place that turns a type into its step. */
#ifndef US_CORE_MAP_H
#define US_CORE_MAP_H

#include "format.h"
#include "instrument.h"
#include "linear.h"
#include "mirror.h"
#include "partition.h"
#include "stripe.h"

/* Whether the table has layers of a type at all. An engine that knows tells it here, and sheds the others. */
#ifndef US_USES
#define US_USES(type) 1
#endif

/* One step of layer `index`. The range lies inside the layer; a leaf is never asked. words: of the formats;
 * NULL where there are none. */
US_INLINE struct us_step us_map(const struct us_table *table, const struct us_live *live,
                                const struct us_words *words, us_u32 index, us_u32 op, us_u64 offset,
                                us_u64 length) {
    const struct us_layer *layer = &table->layers[US_BOUND(index, US_MAX_LAYERS)];
    us_u32 nr = layer->nr_children;

    if (US_USES(US_TYPE_MIRROR) && layer->type == US_TYPE_MIRROR)
        return us_mirror_map(&live->layers[US_BOUND(index, US_MAX_LAYERS)], nr, op, offset, length);
    if (US_USES(US_TYPE_INSTRUMENT) && layer->type == US_TYPE_INSTRUMENT)
        return us_instrument_map(&live->layers[US_BOUND(index, US_MAX_LAYERS)], op, offset, length);
    if (US_USES(US_TYPE_FORMAT) && layer->type == US_TYPE_FORMAT) {
        us_u32 below = table->links[US_BOUND(layer->first_link + US_FORMAT_BELOW, US_MAX_LINKS)].layer;
        return us_format_map(layer, &live->layers[US_BOUND(index, US_MAX_LAYERS)], words,
                             table->layers[US_BOUND(below, US_MAX_LAYERS)].size, op, offset, length);
    }
    if (op == US_OP_FLUSH) return us_step_all(nr, 0, 0);
    if (US_USES(US_TYPE_STRIPE) && layer->type == US_TYPE_STRIPE && nr > 0)
        return us_stripe_map((us_u32)layer->param[US_STRIPE_CHUNK_SHIFT] & 63, nr, offset, length);
    if (US_USES(US_TYPE_LINEAR) && layer->type == US_TYPE_LINEAR)
        return us_linear_map(table->links, layer->first_link, nr, layer->size, offset, length);
    if (US_USES(US_TYPE_PARTITION) && layer->type == US_TYPE_PARTITION)
        return us_partition_map(layer->param[US_PARTITION_START], offset, length);
    return us_step_redirect();
}

#endif
