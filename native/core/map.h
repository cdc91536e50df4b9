/* The registry of mapping layers: the one place that turns a type into its step. */
#ifndef US_CORE_MAP_H
#define US_CORE_MAP_H

#include "linear.h"
#include "mirror.h"
#include "stripe.h"

/* One step of layer `index`. The range lies inside the layer; a leaf is never asked. */
US_INLINE struct us_step us_map(const struct us_table *table, const struct us_live *live, us_u32 index,
                                us_u32 op, us_u64 offset, us_u64 length) {
    const struct us_layer *layer = &table->layers[US_BOUND(index, US_MAX_LAYERS)];
    us_u32 nr = layer->nr_children;

    if (layer->type == US_TYPE_MIRROR)
        return us_mirror_map(&live->layers[US_BOUND(index, US_MAX_LAYERS)], nr, op, offset, length);
    if (op == US_OP_FLUSH) return us_step_all(nr, 0, 0);
    if (layer->type == US_TYPE_STRIPE && nr > 0)
        return us_stripe_map((us_u32)layer->param[US_STRIPE_CHUNK_SHIFT] & 63, nr, offset, length);
    if (layer->type == US_TYPE_LINEAR)
        return us_linear_map(&table->links[US_BOUND(layer->first_link, US_MAX_LINKS)], nr, layer->size,
                             offset, length);
    return us_step_redirect();
}

#endif
