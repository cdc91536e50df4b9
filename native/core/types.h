/* The one header that knows in which world the core is compiled: C, C++ or BPF.
 *
 * Everything above it is plain C without allocation, locks, libc or floating point, with bounded loops, so
 * that the same functions run in the server, in the Node addon and in the kernel. */
#ifndef US_CORE_TYPES_H
#define US_CORE_TYPES_H

typedef __UINT8_TYPE__ us_u8;
typedef __UINT16_TYPE__ us_u16;
typedef __UINT32_TYPE__ us_u32;
typedef __UINT64_TYPE__ us_u64;

/* The BPF verifier wants one function without calls; inlining lets frozen tables remove the unused branches.
 */
#define US_INLINE static inline __attribute__((always_inline, unused))

#define US_SECTOR_SHIFT 9
#define US_SECTOR_BYTES 512ULL

#ifdef __bpf__
/* An access whose index the compiler may not hoist above the bounds check that the verifier needs to see. */
#define US_BOUND(index, limit)                                                                               \
    ({                                                                                                       \
        us_u32 us_i = (index);                                                                               \
        __asm__ volatile("" : "+r"(us_i));                                                                   \
        us_i &((limit)-1);                                                                                   \
    })
/* A word that another thread may change: read it once, whole, here and now. */
#define US_READ_ONCE(word) (*(const volatile __typeof__(word) *)&(word))
#else
#define US_BOUND(index, limit) ((index) & ((limit)-1))
#define US_READ_ONCE(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)
#endif

#endif
