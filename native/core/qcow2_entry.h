/* One entry of a qcow2 L2 table: what a guest cluster is, and where. The specification: QEMU's
 * docs/interop/qcow2, "Cluster mapping" and "Extended L2 Entries". Words here are in the host's byte order.
 *
 *     63      62          61 ............ 56  55 ............. 9  8 ... 1  0
 *     COPIED  COMPRESSED  reserved            host offset         res.     ZERO      a standard cluster
 *     0       1           sectors - 1 (61..x) | host offset (x-1..0)                 a compressed one
 *
 *     the second word, of extended entries alone:
 *     63 ........ 32                    31 ........ 0
 *     subcluster reads as zeros         subcluster is allocated
 *
 * Reserved bits are ignored, as QEMU does; a check of the image reports them. */
#ifndef US_CORE_QCOW2_ENTRY_H
#define US_CORE_QCOW2_ENTRY_H

#include "types.h"

#define US_QCOW2_COPIED (1ULL << 63)
#define US_QCOW2_COMPRESSED (1ULL << 62)
#define US_QCOW2_ZERO 1ULL
#define US_QCOW2_HOST_MASK 0x00fffffffffffe00ULL /* bits 9-55: of L1 entries, too */
#define US_QCOW2_SUBCLUSTERS 32

/* How a table is laid out. */
struct us_qcow2_shape {
    us_u32 cluster_bits; /* 9 to 21 */
    us_u16 extended;     /* entries of two words */
    us_u16 data_file;    /* guest clusters lie in an external data file, at their guest offset */
    us_u32 version;      /* 2 or 3 */
};

enum us_qcow2_kind {
    US_QCOW2_UNALLOCATED = 0, /* reads the backing; zeros where there is none */
    US_QCOW2_ZEROS = 1,       /* reads zeros, whatever the backing says */
    US_QCOW2_DATA = 2,        /* lies at `host` */
    US_QCOW2_INFLATE = 3,     /* the whole cluster is what `host_bytes` at `host` inflate to */
    US_QCOW2_BAD = 4,         /* contradicts the specification */
};

struct us_qcow2_run {
    us_u32 kind;       /* enum us_qcow2_kind */
    us_u32 exclusive;  /* the cluster may be written in place: COPIED */
    us_u64 length;     /* bytes of the guest with this one answer: up to the cluster's end at most */
    us_u64 host;       /* bytes: DATA of the offset asked for; ZEROS and UNALLOCATED the same, when space is
                          reserved; INFLATE of the first byte; else 0 */
    us_u64 host_bytes; /* INFLATE: at most so many, up to the end of a sector */
};

US_INLINE us_u64 us_qcow2_cluster_bytes(const struct us_qcow2_shape *shape) {
    return 1ULL << (shape->cluster_bits & 63);
}

US_INLINE us_u32 us_qcow2_entry_bytes(const struct us_qcow2_shape *shape) {
    return shape->extended ? 16 : 8;
}

/* Of one L2 table. */
US_INLINE us_u64 us_qcow2_entries(const struct us_qcow2_shape *shape) {
    return us_qcow2_cluster_bytes(shape) / us_qcow2_entry_bytes(shape);
}

US_INLINE struct us_qcow2_run us_qcow2_run_of(us_u32 kind, us_u64 length, us_u64 host) {
    struct us_qcow2_run run = {kind, 0, length, host, 0};
    return run;
}

/* Bits from `at` on that are like bit `at`: 1 to 32 - at. */
US_INLINE us_u32 us_qcow2_alike(us_u32 bits, us_u32 at) {
    us_u32 others = (bits >> at & 1 ? ~bits : bits) >> at;
    return others ? (us_u32)__builtin_ctz(others) : US_QCOW2_SUBCLUSTERS - at;
}

US_INLINE struct us_qcow2_run us_qcow2_compressed_run(const struct us_qcow2_shape *shape, us_u64 word,
                                                      us_u64 rest) {
    us_u32 shift = 62 - (shape->cluster_bits - 8);
    us_u64 host = word & ((1ULL << shift) - 1);
    us_u64 sectors = (word & (US_QCOW2_COMPRESSED - 1)) >> shift;
    struct us_qcow2_run run = us_qcow2_run_of(US_QCOW2_INFLATE, rest, host);
    run.host_bytes = (sectors + 1) * US_SECTOR_BYTES - host % US_SECTOR_BYTES;
    /* External data files know no compression; offsets have 56 bits. */
    if (shape->data_file || host >> 56) run.kind = US_QCOW2_BAD;
    return run;
}

/* Of the guest cluster at `guest`, from `within` on. subclusters: the second word, 0 without one. */
US_INLINE struct us_qcow2_run us_qcow2_entry(const struct us_qcow2_shape *shape, us_u64 word,
                                             us_u64 subclusters, us_u64 guest, us_u64 within) {
    us_u64 bytes = us_qcow2_cluster_bytes(shape), rest = bytes - within;
    if (word & US_QCOW2_COMPRESSED) return us_qcow2_compressed_run(shape, word, rest);

    us_u64 host = word & US_QCOW2_HOST_MASK;
    /* Only in a data file can a cluster lie at 0. */
    us_u32 placed = host != 0 || (shape->data_file && (word & US_QCOW2_COPIED));
    us_u32 bad = (host & (bytes - 1)) != 0 || (placed && shape->data_file && host != guest);
    struct us_qcow2_run run =
        us_qcow2_run_of(placed ? US_QCOW2_DATA : US_QCOW2_UNALLOCATED, rest, placed ? host + within : 0);
    run.exclusive = placed && (word & US_QCOW2_COPIED) != 0;

    if (!shape->extended) {
        if (word & US_QCOW2_ZERO) {
            bad |= shape->version < 3;
            run.kind = US_QCOW2_ZEROS;
        }
    } else {
        us_u32 allocated = (us_u32)subclusters, zero = (us_u32)(subclusters >> 32);
        us_u32 shift = shape->cluster_bits - 5, at = (us_u32)(within >> shift) & 31;
        us_u32 alike = us_qcow2_alike(allocated, at), zeros_alike = us_qcow2_alike(zero, at);
        us_u64 end = (us_u64)(at + (alike < zeros_alike ? alike : zeros_alike)) << shift;
        run.length = end - within;
        run.kind = zero >> at & 1        ? US_QCOW2_ZEROS
                   : allocated >> at & 1 ? US_QCOW2_DATA
                                         : US_QCOW2_UNALLOCATED;
        bad |= (allocated & zero) != 0 || (allocated != 0 && !placed);
    }
    if (bad) run.kind = US_QCOW2_BAD;
    return run;
}

#endif
