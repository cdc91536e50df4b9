// Reads of compressed clusters, which are read and inflated as a whole, whatever part of them is asked for.
//
//     all of it      ─▶ straight to where it is wanted
//     a part of it   ─▶ inflated lately: copied
//                    ─▶ being inflated: waits for it
//                    ─▶ else inflated, and remembered
//
// A single one is inflated at once, on the queue's own thread: handing it over would take longer than it
// saves. Where there are several, threads do it side by side.
//
// Of a server; any queue.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "core/qcow2_entry.h"
#include "targets/qcow2/buffer.h"
#include "targets/qcow2/inflate_threads.h"
#include "targets/qcow2/media.h"
#include "targets/qcow2/waiters.h"

namespace us::qcow2 {

class Inflater {
  public:
    // What `run`, which is compressed, has from the byte `within` of its cluster on. 0 or -errno: -EIO when
    // it is damaged.
    Task<int> read(Media &media, Compression type, us_qcow2_run run, uint64_t cluster_bytes, uint64_t within,
                   std::span<std::byte> into);
    // Places in the image have been given away that may have held compressed clusters.
    void forget();

  private:
    struct Cluster {
        Cluster(uint64_t at, uint64_t length, uint64_t cluster_bytes)
            : host(at), host_bytes(length), bytes(cluster_bytes) {}
        uint64_t host, host_bytes;
        Buffer bytes;
        bool ready = false;
        int error = 0;
    };
    using Held = std::shared_ptr<Cluster>;

    Held find(const us_qcow2_run &run);
    void remember(const Held &cluster);
    Task<int> inflate_all(Media &media, Compression type, us_qcow2_run run, std::span<std::byte> cluster);

    InflateThreads threads_;
    std::atomic<uint32_t> reads_{0}; // that are under way
    std::mutex mutex_;
    std::vector<Held> clusters_; // the latest last
    Waiters inflated_;
};

} // namespace us::qcow2
