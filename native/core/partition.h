/* partition: a range of bytes of its child, as device mapper's linear target over a part of a device.
 *
 *     child  |......|<---- partition ---->|....|
 *            0    start               start + size
 */
#ifndef US_CORE_PARTITION_H
#define US_CORE_PARTITION_H

#include "step.h"

#define US_PARTITION_START 0 /* param: bytes; start + size lie inside the child */

US_INLINE struct us_step us_partition_map(us_u64 start, us_u64 offset, us_u64 length) {
    return us_step_one(0, start + offset, length, length);
}

#endif
