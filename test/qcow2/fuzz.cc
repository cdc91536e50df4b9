// libFuzzer: any bytes as an image. Nothing of it may crash, read beyond what it was given, or run on for
// ever.
#include "media.h"
#include "sim.h"
#include "targets/qcow2/check.h"
#include "targets/qcow2/image.h"
#include "targets/qcow2/inflate.h"
#include "targets/qcow2/map.h"
#include "targets/qcow2/repair.h"
#include "targets/qcow2/snapshots.h"

using namespace us::qcow2;

namespace {

// As large as it may become.
constexpr uint64_t MOST = 1 << 20;

class BoundedMemory : public Media {
  public:
    explicit BoundedMemory(std::span<const std::byte> bytes) : bytes_(bytes.begin(), bytes.end()) {}

    us::Task<int> read(uint64_t offset, std::span<std::byte> into) override {
        int error = co_await MemoryMedia(bytes_).read(offset, into);
        co_return error;
    }
    us::Task<int> write(uint64_t offset, std::span<const std::byte> from) override {
        if (offset > MOST || from.size() > MOST - offset) co_return -ENOSPC;
        if (bytes_.size() < offset + from.size()) bytes_.resize(offset + from.size());
        std::copy(from.begin(), from.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
        co_return 0;
    }
    us::Task<int> flush() override { co_return 0; }
    uint64_t size() const override { return bytes_.size(); }

  private:
    std::vector<std::byte> bytes_;
};

// Refused, failed for want of room, or whole afterwards.
void mend(BoundedMemory &memory, Header &header) {
    Repaired repaired = finished(repair(memory, header));
    if (repaired.error != 0 || repaired.refusal) return;
    Header now;
    if (open_image(memory, now)) abort();
    CheckReport report = finished(check(memory, now));
    if (report.corruptions != 0 || report.leaks != 0 || now.has(INCOMPATIBLE_DIRTY)) abort();
}

// Every request may fail, and none of them more than that.
us::Task<int> change(Image &image, us::Executor &executor) {
    if (int error = co_await image.load()) co_return error;
    if (int error = co_await image.begin_writing()) co_return error;
    uint64_t size = image.header().size, cluster = image.header().cluster_bytes();
    std::vector<std::byte> bytes(700, std::byte{7});
    for (uint64_t offset : {uint64_t{0}, cluster, 3 * cluster + 512, image.header().l2_span(), size - 700}) {
        if (size < 700 || offset > size - 700) continue;
        co_await image.write(executor, offset, bytes);
        co_await image.read(executor, offset, bytes);
        co_await image.flush(executor);
        co_await image.zero(executor, offset, 600, true);
        co_await image.discard(executor, offset, std::min(2 * cluster, size - offset));
    }
    SnapshotRequest request{"fuzz", 0, 0};
    co_await image.snapshot_create(executor, request);
    if (size >= 700) co_await image.write(executor, 0, bytes);
    for (const char *which : {"1", "one", "fuzz"}) {
        std::string name = which;
        co_await image.snapshot_apply(executor, name);
        co_await image.snapshot_delete(executor, name);
    }
    co_await image.resize(executor, round_up(image.size(), 512) + 70000 / 512 * 512);
    int error = co_await image.flush(executor);
    co_return error;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
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
    BoundedMemory memory({reinterpret_cast<const std::byte *>(data), size});
    mend(memory, header);
    Machine machine(1);
    Image image(memory, header, {});
    finished(change(image, machine));
    return 0;
}
