/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The programs of engine ublk-bpf as the driver calls them. All that they do is ublk_queue.h, which a test
 * runs with a driver of its own, since no released kernel has the RFC's
 * (test/bpf/differential/ublk_driver.bpf.c). */
#include "bpf/ublk_queue.h"

char _license[] SEC("license") = "Dual MIT/GPL";

SEC("struct_ops.s/queue_io_cmd_daemon")
ublk_bpf_return_t BPF_PROG(queue_io_cmd_daemon, struct ublk_bpf_io *io, unsigned int done) {
    return queue_request(io, done);
}

SEC("struct_ops/bpf_aio_complete_cb")
void BPF_PROG(bpf_aio_complete_cb, struct bpf_aio *aio, long result) {
    piece_ended(aio, result);
}

SEC("struct_ops/attach_dev")
int BPF_PROG(attach_dev, int device) {
    return device == (int)constants.device ? 0 : -EINVAL;
}

SEC(".struct_ops.link")
struct bpf_aio_complete_ops pieces = {
    .bpf_aio_complete_cb = (void *)bpf_aio_complete_cb,
};

SEC(".struct_ops.link")
struct ublk_bpf_ops requests = {
    .queue_io_cmd_daemon = (void *)queue_io_cmd_daemon,
    .attach_dev = (void *)attach_dev,
};
