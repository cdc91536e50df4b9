// libFuzzer: any bytes as an image. Nothing of it may crash, read beyond what it was given, or run on for
// ever.
#include "media.h"
#include "targets/qcow2/check.h"
#include "targets/qcow2/inflate.h"
#include "targets/qcow2/map.h"
#include "targets/qcow2/snapshots.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    using namespace us::qcow2;
    std::vector<std::byte> cluster(4096);
    for (Compression type : {Compression::zlib, Compression::zstd})
        inflate(type, {reinterpret_cast<const std::byte *>(data), size}, cluster);
    MemoryMedia media({reinterpret_cast<const std::byte *>(data), size});
    Header header;
    if (open_image(media, header)) return 0;
    finished(check(media, header));
    std::vector<MapRun> runs;
    // Whole disks of exabytes are mapped by whoever wants to see them.
    finished(map(media, header, 0, std::min<uint64_t>(header.size, 64 << 20), runs));
    uint64_t at = 0;
    for (const MapRun &run : runs) {
        if (run.start != at || run.length == 0) abort();
        at += run.length;
    }
    return 0;
}
