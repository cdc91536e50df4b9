// ublk's user-space ABI as of Linux 7.3, declared by us: Debian 12's <linux/ublk_cmd.h> is that of 6.1.
//
//   /dev/ublk-control   control commands: URING_CMD with 128-byte SQEs, struct ctrl_cmd in the SQE
//   /dev/ublkcN         one per device: FETCH and COMMIT_AND_FETCH commands of its queues, 64-byte SQEs,
//                       struct io_cmd in the SQE; mmap gives the request descriptors (struct io_desc)
//   /dev/ublkbN         the block device that clients open
//
//   state     ADD_DEV ─▶ dead ─START_DEV─▶ live ─server gone, USER_RECOVERY─▶ quiesced ─END_USER_RECOVERY─▶
//   live
//                          ▲                 └──────────────STOP_DEV──────────────┘│
//                          └───────────────────────────STOP_DEV────────────────────┘
//
// Values and layouts are facts of the kernel: include/uapi/linux/ublk_cmd.h and Documentation/block/ublk.rst.
// test/device/uapi.test.ts holds every name here against the kernel's own header.
#pragma once

#include <linux/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace us::ublk {

// ---- control commands, in the SQE of a 128-byte ring (behind its first 48 bytes)

struct ctrl_cmd {
    uint32_t dev_id;
    uint16_t queue_id; // 0xffff: the command is for no single queue
    uint16_t len;      // bytes at addr
    uint64_t addr;     // command-specific buffer, in or out
    uint64_t data;     // command-specific value
    uint16_t
        dev_path_len; // unprivileged devices and GET_DEV_INFO2: path of /dev/ublkcN stands before the buffer
    uint16_t pad;
    uint32_t reserved;
};
static_assert(sizeof(ctrl_cmd) == 32);

// Kernels before 6.4 take the bare number as the operation; from 6.4 the number is wrapped as an ioctl code,
// and kernels built without CONFIG_BLKDEV_UBLK_LEGACY_OPCODES take nothing else.
enum ctrl_nr : uint32_t {
    CTRL_GET_QUEUE_AFFINITY = 0x01,  // data: queue; addr: cpu mask out
    CTRL_GET_DEV_INFO = 0x02,        // addr: dev_info out
    CTRL_ADD_DEV = 0x04,             // addr: dev_info in and out; the flags that come back are in force
    CTRL_DEL_DEV = 0x05,             // waits until /dev/ublkcN is closed
    CTRL_START_DEV = 0x06,           // data: pid of the server; waits for the FETCH of every tag
    CTRL_STOP_DEV = 0x07,            // waits for requests under way, then ends every FETCH with IO_RES_ABORT
    CTRL_SET_PARAMS = 0x08,          // addr: params in; before START_DEV only
    CTRL_GET_PARAMS = 0x09,          // addr: params out, len is set by the caller
    CTRL_START_USER_RECOVERY = 0x10, // EBUSY until the old server has let go of /dev/ublkcN
    CTRL_END_USER_RECOVERY = 0x11,   // data: pid of the server; waits for the FETCH of every tag
    CTRL_GET_DEV_INFO2 = 0x12,       // as GET_DEV_INFO, with the path of /dev/ublkcN before the buffer (6.3)
    CTRL_GET_FEATURES = 0x13,        // addr: 8 bytes out, the F_ bits that the driver knows (6.5)
    CTRL_DEL_DEV_ASYNC = 0x14,       // as DEL_DEV, without waiting (6.9)
    CTRL_UPDATE_SIZE = 0x15,         // data: new size in sectors (6.16); started devices only
    CTRL_QUIESCE_DEV = 0x16,         // data: milliseconds to wait for an idle tag per queue (6.16)
    CTRL_TRY_STOP_DEV = 0x17,        // STOP_DEV unless somebody has the device open: EBUSY (7.x)
    CTRL_REG_BUF = 0x18,             // addr: shmem_buf_reg; result: index of the buffer (7.x)
    CTRL_UNREG_BUF = 0x19,           // data: index of the buffer (7.x)
};

constexpr uint32_t GET_QUEUE_AFFINITY = _IOR('u', CTRL_GET_QUEUE_AFFINITY, ctrl_cmd);
constexpr uint32_t GET_DEV_INFO = _IOR('u', CTRL_GET_DEV_INFO, ctrl_cmd);
constexpr uint32_t ADD_DEV = _IOWR('u', CTRL_ADD_DEV, ctrl_cmd);
constexpr uint32_t DEL_DEV = _IOWR('u', CTRL_DEL_DEV, ctrl_cmd);
constexpr uint32_t START_DEV = _IOWR('u', CTRL_START_DEV, ctrl_cmd);
constexpr uint32_t STOP_DEV = _IOWR('u', CTRL_STOP_DEV, ctrl_cmd);
constexpr uint32_t SET_PARAMS = _IOWR('u', CTRL_SET_PARAMS, ctrl_cmd);
constexpr uint32_t GET_PARAMS = _IOR('u', CTRL_GET_PARAMS, ctrl_cmd);
constexpr uint32_t START_USER_RECOVERY = _IOWR('u', CTRL_START_USER_RECOVERY, ctrl_cmd);
constexpr uint32_t END_USER_RECOVERY = _IOWR('u', CTRL_END_USER_RECOVERY, ctrl_cmd);
constexpr uint32_t GET_DEV_INFO2 = _IOR('u', CTRL_GET_DEV_INFO2, ctrl_cmd);
constexpr uint32_t GET_FEATURES = _IOR('u', CTRL_GET_FEATURES, ctrl_cmd);
constexpr uint32_t DEL_DEV_ASYNC = _IOR('u', CTRL_DEL_DEV_ASYNC, ctrl_cmd);
constexpr uint32_t UPDATE_SIZE = _IOWR('u', CTRL_UPDATE_SIZE, ctrl_cmd);
constexpr uint32_t QUIESCE_DEV = _IOWR('u', CTRL_QUIESCE_DEV, ctrl_cmd);
constexpr uint32_t TRY_STOP_DEV = _IOWR('u', CTRL_TRY_STOP_DEV, ctrl_cmd);
constexpr uint32_t REG_BUF = _IOWR('u', CTRL_REG_BUF, ctrl_cmd);
constexpr uint32_t UNREG_BUF = _IOWR('u', CTRL_UNREG_BUF, ctrl_cmd);

constexpr uint16_t FEATURES_LEN = 8;

// ---- IO commands, in the SQE of the queue's ring

struct io_cmd {
    uint16_t q_id;
    uint16_t tag;
    int32_t result; // COMMIT: bytes done, or -errno
    uint64_t addr;  // copy mode: the server's buffer for this tag; zone append: the sector that was written
};
static_assert(sizeof(io_cmd) == 16);

enum io_nr : uint32_t {
    IO_NR_FETCH_REQ = 0x20,            // once per tag, before START_DEV or END_USER_RECOVERY
    IO_NR_COMMIT_AND_FETCH_REQ = 0x21, // hand in a result and wait for the tag's next request
    IO_NR_NEED_GET_DATA = 0x22,        // F_NEED_GET_DATA: the second round of a write
    IO_NR_REGISTER_IO_BUF = 0x23,      // addr: index in the ring's table of buffers (6.15)
    IO_NR_UNREGISTER_IO_BUF = 0x24,    // addr: the same index (6.15)
    IO_NR_PREP_IO_CMDS = 0x25,         // F_BATCH_IO, struct batch_io (7.x)
    IO_NR_COMMIT_IO_CMDS = 0x26,
    IO_NR_FETCH_IO_CMDS = 0x27, // multishot
};

struct batch_io {
    uint16_t q_id;
    uint16_t flags; // BATCH_F_
    uint16_t nr_elem;
    uint8_t elem_bytes;
    uint8_t reserved;
    uint64_t reserved2;
};
static_assert(sizeof(batch_io) == 16);

// Element of a batch: header, then an address of 8 bytes and a zone's LBA of 8 bytes, where the flags say so.
struct elem_header {
    uint16_t tag;
    uint16_t buf_index; // F_AUTO_BUF_REG only
    int32_t result;     // COMMIT only
};
static_assert(sizeof(elem_header) == 8);

constexpr uint16_t BATCH_F_HAS_ZONE_LBA = 1u << 0;
constexpr uint16_t BATCH_F_HAS_BUF_ADDR = 1u << 1;
constexpr uint16_t BATCH_F_AUTO_BUF_REG_FALLBACK = 1u << 2;

constexpr uint32_t IO_FETCH_REQ = _IOWR('u', IO_NR_FETCH_REQ, io_cmd);
constexpr uint32_t IO_COMMIT_AND_FETCH_REQ = _IOWR('u', IO_NR_COMMIT_AND_FETCH_REQ, io_cmd);
constexpr uint32_t IO_NEED_GET_DATA = _IOWR('u', IO_NR_NEED_GET_DATA, io_cmd);
constexpr uint32_t IO_REGISTER_IO_BUF = _IOWR('u', IO_NR_REGISTER_IO_BUF, io_cmd);
constexpr uint32_t IO_UNREGISTER_IO_BUF = _IOWR('u', IO_NR_UNREGISTER_IO_BUF, io_cmd);
constexpr uint32_t IO_PREP_IO_CMDS = _IOWR('u', IO_NR_PREP_IO_CMDS, batch_io);
constexpr uint32_t IO_COMMIT_IO_CMDS = _IOWR('u', IO_NR_COMMIT_IO_CMDS, batch_io);
constexpr uint32_t IO_FETCH_IO_CMDS = _IOWR('u', IO_NR_FETCH_IO_CMDS, batch_io);

// Result of a FETCH or COMMIT_AND_FETCH.
constexpr int32_t IO_RES_OK = 0;            // the tag's descriptor holds a request
constexpr int32_t IO_RES_NEED_GET_DATA = 1; // F_NEED_GET_DATA: ask for the data of a write
constexpr int32_t IO_RES_ABORT = -19;       // -ENODEV: the device stops or quiesces, fetch no more

// ---- offsets for mmap, pread and pwrite on /dev/ublkcN

constexpr uint64_t CMD_BUF_OFFSET = 0; // mmap, read only: descriptors; queue q at q × cmd_buf_stride()
constexpr uint64_t IO_BUF_OFFSET = 0x80000000; // pread, pwrite: data of a request, F_USER_COPY
constexpr uint32_t IO_BUF_BITS = 25;           // so one request has at most 32 MiB
constexpr uint32_t TAG_OFF = IO_BUF_BITS;
constexpr uint32_t TAG_BITS = 16;
constexpr uint32_t QID_OFF = TAG_OFF + TAG_BITS;
constexpr uint32_t QID_BITS = 12;
constexpr uint32_t INTEGRITY_FLAG_OFF = 62; // set: the integrity buffer instead of the data
constexpr uint32_t MAX_QUEUE_DEPTH = 4096;
constexpr uint32_t MAX_NR_QUEUES = 1u << QID_BITS;

// ---- feature flags: what the driver knows (GET_FEATURES), what a device has (dev_info.flags)

constexpr uint64_t F_SUPPORT_ZERO_COPY = 1ull << 0;      // REGISTER_IO_BUF (6.15)
constexpr uint64_t F_URING_CMD_COMP_IN_TASK = 1ull << 1; // always on
constexpr uint64_t F_NEED_GET_DATA = 1ull << 2;          // the buffer of a write is given when it is known
constexpr uint64_t F_USER_RECOVERY = 1ull << 3;          // a device outlives its server, requests wait
constexpr uint64_t F_USER_RECOVERY_REISSUE = 1ull
                                             << 4; // … and those under way are issued to the next one again
constexpr uint64_t F_UNPRIVILEGED_DEV = 1ull << 5; // devices of plain users (6.3)
constexpr uint64_t F_CMD_IOCTL_ENCODE = 1ull << 6; // operations wrapped as ioctl codes (6.4)
constexpr uint64_t F_USER_COPY = 1ull << 7;        // data by pread and pwrite on /dev/ublkcN (6.5)
constexpr uint64_t F_ZONED = 1ull << 8;            // (6.6)
constexpr uint64_t F_USER_RECOVERY_FAIL_IO = 1ull << 9; // requests fail while there is no server (6.13)
constexpr uint64_t F_UPDATE_SIZE = 1ull << 10;          // (6.16)
constexpr uint64_t F_AUTO_BUF_REG = 1ull << 11;  // a request's pages are registered before it comes (6.16)
constexpr uint64_t F_QUIESCE = 1ull << 12;       // needs F_USER_RECOVERY (6.16)
constexpr uint64_t F_PER_IO_DAEMON = 1ull << 13; // each tag may have a task of its own (6.16)
constexpr uint64_t F_BUF_REG_OFF_DAEMON = 1ull << 14; // another ring may register a request's buffer (6.17)
constexpr uint64_t F_BATCH_IO = 1ull << 15;           // (7.x)
constexpr uint64_t F_INTEGRITY = 1ull << 16;          // needs F_USER_COPY (7.x)
constexpr uint64_t F_SAFE_STOP_DEV = 1ull << 17;      // TRY_STOP_DEV (7.x)
constexpr uint64_t F_NO_AUTO_PART_SCAN = 1ull << 18;  // START_DEV does not read the partition table (7.x)
constexpr uint64_t F_SHMEM_ZC = 1ull << 19;           // REG_BUF (7.x)
constexpr uint64_t F_IO_DESC_SIZE = 1ull << 20;       // dev_info.io_desc_size is the server's choice (7.x)

// ---- a device

enum dev_state : uint16_t { S_DEV_DEAD = 0, S_DEV_LIVE = 1, S_DEV_QUIESCED = 2, S_DEV_FAIL_IO = 3 };

struct dev_info {
    uint16_t nr_hw_queues; // ADD_DEV lowers it to the number of CPUs
    uint16_t queue_depth;
    uint16_t state;        // dev_state
    uint16_t io_desc_size; // with F_IO_DESC_SIZE; before 7.3 padding
    uint32_t max_io_buf_bytes;
    uint32_t dev_id; // ADD_DEV: 0xffffffff lets the driver choose
    int32_t ublksrv_pid;
    uint32_t pad1;
    uint64_t flags;
    uint64_t ublksrv_flags; // the server's own, kept and never read by the driver
    uint32_t owner_uid;
    uint32_t owner_gid;
    uint64_t reserved1;
    uint64_t reserved2;
};
static_assert(sizeof(dev_info) == 64);
static_assert(offsetof(dev_info, flags) == 24 && offsetof(dev_info, ublksrv_flags) == 32);

constexpr uint32_t ATTR_READ_ONLY = 1u << 0;
constexpr uint32_t ATTR_ROTATIONAL = 1u << 1;
constexpr uint32_t ATTR_VOLATILE_CACHE = 1u << 2;
constexpr uint32_t ATTR_FUA = 1u << 3;

struct param_basic {
    uint32_t attrs;
    uint8_t logical_bs_shift; // 9 to 12
    uint8_t physical_bs_shift;
    uint8_t io_opt_shift;
    uint8_t io_min_shift;
    uint32_t max_sectors; // 8 to max_io_buf_bytes / 512
    uint32_t chunk_sectors;
    uint64_t dev_sectors;
    uint64_t virt_boundary_mask;
};
static_assert(sizeof(param_basic) == 32);

struct param_discard {
    uint32_t discard_alignment;
    uint32_t discard_granularity; // bytes, never 0
    uint32_t max_discard_sectors;
    uint32_t max_write_zeroes_sectors;
    uint16_t max_discard_segments; // 1 when there is discard
    uint16_t reserved0;
};
static_assert(sizeof(param_discard) == 20);

// Set by the driver; disk_major and disk_minor once started.
struct param_devt {
    uint32_t char_major, char_minor, disk_major, disk_minor;
};
static_assert(sizeof(param_devt) == 16);

struct param_zoned {
    uint32_t max_open_zones, max_active_zones, max_zone_append_sectors;
    uint8_t reserved[20];
};
static_assert(sizeof(param_zoned) == 32);

struct param_dma_align {
    uint32_t alignment; // a mask: power of two minus one, below the page size
    uint8_t pad[4];
};
static_assert(sizeof(param_dma_align) == 8);

struct param_segment {
    uint64_t seg_boundary_mask;
    uint32_t max_segment_size; // 4096 or more
    uint16_t max_segments;
    uint8_t pad[2];
};
static_assert(sizeof(param_segment) == 16);

constexpr uint32_t MIN_SEGMENT_SIZE = 4096;

struct param_integrity {
    uint32_t flags;
    uint16_t max_integrity_segments;
    uint8_t interval_exp;
    uint8_t metadata_size;
    uint8_t pi_offset;
    uint8_t csum_type;
    uint8_t tag_size;
    uint8_t pad[5];
};
static_assert(sizeof(param_integrity) == 16);

constexpr uint32_t PARAM_TYPE_BASIC = 1u << 0;
constexpr uint32_t PARAM_TYPE_DISCARD = 1u << 1;
constexpr uint32_t PARAM_TYPE_DEVT = 1u << 2;
constexpr uint32_t PARAM_TYPE_ZONED = 1u << 3;
constexpr uint32_t PARAM_TYPE_DMA_ALIGN = 1u << 4;
constexpr uint32_t PARAM_TYPE_SEGMENT = 1u << 5;
constexpr uint32_t PARAM_TYPE_INTEGRITY = 1u << 6;

// The driver takes and gives the first `len` bytes: each side may know more members than the other.
struct params {
    uint32_t len;
    uint32_t types; // PARAM_TYPE_
    param_basic basic;
    param_discard discard;
    param_devt devt;
    param_zoned zoned;
    param_dma_align dma;
    param_segment seg;
    param_integrity integrity;
};
static_assert(sizeof(params) == 152);
static_assert(offsetof(params, discard) == 40 && offsetof(params, devt) == 60 &&
              offsetof(params, zoned) == 76);
static_assert(offsetof(params, dma) == 108 && offsetof(params, seg) == 120 &&
              offsetof(params, integrity) == 136);

struct shmem_buf_reg {
    uint64_t addr, len;
    uint32_t flags; // SHMEM_BUF_READ_ONLY
    uint32_t reserved;
};
static_assert(sizeof(shmem_buf_reg) == 24);

constexpr uint32_t SHMEM_BUF_READ_ONLY = 1u << 0;

// ---- requests

enum io_op : uint8_t {
    IO_OP_READ = 0,
    IO_OP_WRITE = 1,
    IO_OP_FLUSH = 2,
    IO_OP_DISCARD = 3,
    IO_OP_WRITE_SAME = 4,
    IO_OP_WRITE_ZEROES = 5,
    IO_OP_ZONE_OPEN = 10,
    IO_OP_ZONE_CLOSE = 11,
    IO_OP_ZONE_FINISH = 12,
    IO_OP_ZONE_APPEND = 13,
    IO_OP_ZONE_RESET_ALL = 14,
    IO_OP_ZONE_RESET = 15,
    IO_OP_REPORT_ZONES = 18,
};

constexpr uint32_t IO_F_FAILFAST_DEV = 1u << 8;
constexpr uint32_t IO_F_FAILFAST_TRANSPORT = 1u << 9;
constexpr uint32_t IO_F_FAILFAST_DRIVER = 1u << 10;
constexpr uint32_t IO_F_META = 1u << 11;
constexpr uint32_t IO_F_FUA = 1u << 13;
constexpr uint32_t IO_F_NOUNMAP = 1u << 15;
constexpr uint32_t IO_F_SWAP = 1u << 16;
constexpr uint32_t IO_F_NEED_REG_BUF = 1u << 17; // the automatic registration failed: register by command
constexpr uint32_t IO_F_INTEGRITY = 1u << 18;
constexpr uint32_t IO_F_SHMEM_ZC = 1u << 19;

struct io_desc {
    uint32_t op_flags; // bits 0 to 7: io_op; above: IO_F_
    uint32_t nr_sectors;
    uint64_t start_sector;
    uint64_t addr; // copy mode: the server's buffer
};
static_assert(sizeof(io_desc) == 24);

constexpr uint8_t op_of(const io_desc &desc) {
    return static_cast<uint8_t>(desc.op_flags & 0xff);
}

// Distance between the descriptors of two queues in the mapping, for 4096-byte pages: room for the largest
// depth.
constexpr uint64_t cmd_buf_stride() {
    return (MAX_QUEUE_DEPTH * sizeof(io_desc) + 4095) / 4096 * 4096;
}

// ---- F_AUTO_BUF_REG: what sqe->addr says of FETCH and COMMIT_AND_FETCH

constexpr uint8_t AUTO_BUF_REG_FALLBACK =
    1u << 0; // deliver with IO_F_NEED_REG_BUF instead of failing the request

constexpr uint64_t auto_buf_reg(uint16_t index, uint8_t flags) {
    return index | static_cast<uint64_t>(flags) << 16;
}

} // namespace us::ublk
