// Every byte of the guest's disk as the tables have it, by nothing of what is tested but map().
#pragma once

#include "media.h"
#include "targets/qcow2/inflate.h"
#include "targets/qcow2/map.h"

// zeros where a backing file would be asked. False when it cannot be read.
inline bool read_run(us::qcow2::Media &media, const us::qcow2::Header &header, const us::qcow2::MapRun &run,
                     std::span<std::byte> bytes) {
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    if (run.kind == US_QCOW2_DATA) return finished(media.read(run.host, bytes)) == 0;
    if (run.kind != US_QCOW2_INFLATE) return run.kind != US_QCOW2_BAD;
    // No more than the two clusters that it may touch.
    std::vector<std::byte> data(header.cluster_bytes() * 2), cluster(header.cluster_bytes());
    if (finished(media.read(run.host, data)) != 0 || !us::qcow2::inflate(header.compression, data, cluster))
        return false;
    std::copy_n(cluster.begin(), bytes.size(), bytes.begin());
    return true;
}

// take(bytes) of each run, in order.
template <typename Take>
bool read_disk(us::qcow2::Media &media, const us::qcow2::Header &header, const Take &take) {
    std::vector<us::qcow2::MapRun> runs;
    std::vector<std::byte> bytes;
    if (finished(map(media, header, 0, header.size, runs)) != 0) return false;
    for (const us::qcow2::MapRun &run : runs) {
        bytes.resize(run.length);
        if (!read_run(media, header, run, bytes)) return false;
        take(bytes);
    }
    return true;
}
