#include "addon/image_values.h"

namespace us::addon {

namespace {

Napi::Value number(Napi::Env env, uint64_t value) {
    return Napi::Number::New(env, static_cast<double>(value));
}

Napi::Value text_or_null(Napi::Env env, const std::string &text) {
    if (text.empty()) return env.Null();
    return Napi::String::New(env, text);
}

template <typename Items, typename Convert>
Napi::Array list_of(Napi::Env env, const Items &items, Convert convert) {
    Napi::Array list = Napi::Array::New(env, items.size());
    uint32_t at = 0;
    for (const auto &item : items) {
        // Handles of a long list are let go of as it grows.
        Napi::HandleScope scope(env);
        list.Set(at++, convert(item));
    }
    return list;
}

Napi::Value backing(Napi::Env env, const qcow2::Header &header) {
    if (header.backing_name.empty()) return env.Null();
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", header.backing_name);
    object.Set("format", text_or_null(env, header.backing_format));
    return object;
}

Napi::Value data_file(Napi::Env env, const qcow2::Header &header) {
    if (!header.has(qcow2::INCOMPATIBLE_DATA_FILE)) return env.Null();
    return Napi::String::New(env, header.data_file_name);
}

Napi::Value range_value(Napi::Env env, uint64_t before, uint64_t after) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("before", number(env, before));
    object.Set("after", number(env, after));
    return object;
}

void set_header(Napi::Env env, Napi::Object object, const qcow2::Header &header) {
    object.Set("sizeBytes", number(env, header.size));
    object.Set("version", header.version);
    object.Set("clusterBytes", number(env, header.cluster_bytes()));
    object.Set("refcountBits", header.refcount_bits());
    object.Set("extendedL2", header.shape.extended != 0);
    object.Set("compression", header.compression == qcow2::Compression::zstd ? "zstd" : "zlib");
    object.Set("backing", backing(env, header));
    object.Set("dataFile", data_file(env, header));
    object.Set("dataFileRaw", (header.autoclear & qcow2::AUTOCLEAR_DATA_FILE_RAW) != 0);
    object.Set("snapshots", header.nr_snapshots);
    object.Set("bitmaps", header.bitmaps ? header.bitmaps->nr_bitmaps : 0);
    object.Set("dirty", header.has(qcow2::INCOMPATIBLE_DIRTY));
    object.Set("corrupt", header.has(qcow2::INCOMPATIBLE_CORRUPT));
    object.Set("lazyRefcounts", (header.compatible & qcow2::COMPATIBLE_LAZY_REFCOUNTS) != 0);
}

Napi::Value icount(Napi::Env env, const qcow2::Snapshot &snapshot) {
    auto count = qcow2::icount_of(snapshot);
    return count ? number(env, *count) : env.Null();
}

Napi::Object snapshot_object(Napi::Env env, const qcow2::Snapshot &snapshot) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("id", snapshot.id);
    object.Set("name", snapshot.name);
    object.Set("sizeBytes", number(env, snapshot.size));
    object.Set("vmStateBytes", number(env, snapshot.vm_state_bytes));
    object.Set("seconds", snapshot.seconds);
    object.Set("nanoseconds", snapshot.nanoseconds);
    object.Set("guestSeconds", number(env, snapshot.guest_nanoseconds / 1'000'000'000));
    object.Set("guestNanoseconds", number(env, snapshot.guest_nanoseconds % 1'000'000'000));
    object.Set("icount", icount(env, snapshot));
    return object;
}

Napi::Object bitmap_object(Napi::Env env, const qcow2::Bitmap &bitmap) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", bitmap.name);
    object.Set("granularityBytes", number(env, uint64_t{1} << bitmap.granularity_bits));
    object.Set("inUse", bitmap.in_use);
    object.Set("auto", bitmap.enabled);
    return object;
}

// Compressed data have no place of their own; with a data file, data may lie at 0.
bool is_placed(const qcow2::MapRun &run) {
    return run.kind == US_QCOW2_DATA || (run.kind != US_QCOW2_INFLATE && run.host != 0);
}

} // namespace

Napi::Value value_of(Napi::Env env, const ImageHead &head) {
    static const char *const kinds[] = {"qcow2", "refused", "blank", "other"};
    Napi::Object object = Napi::Object::New(env);
    object.Set("kind", kinds[head.kind]);
    if (head.kind == ImageHead::qcow2) set_header(env, object, head.header);
    if (head.kind == ImageHead::refused) object.Set("message", head.message);
    return object;
}

Napi::Value value_of(Napi::Env env, const ImageDetails &details) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("snapshots", list_of(env, details.snapshots,
                                    [env](const auto &snapshot) { return snapshot_object(env, snapshot); }));
    object.Set("bitmaps", list_of(env, details.bitmaps,
                                  [env](const auto &bitmap) { return bitmap_object(env, bitmap); }));
    object.Set("refusals", list_of(env, details.refusals,
                                   [env](const auto &text) { return Napi::String::New(env, text); }));
    return object;
}

Napi::Value value_of(Napi::Env env, const qcow2::CheckReport &report) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("corruptions", number(env, report.corruptions));
    object.Set("leaks", number(env, report.leaks));
    object.Set("totalClusters", number(env, report.total_clusters));
    object.Set("allocatedClusters", number(env, report.allocated_clusters));
    object.Set("compressedClusters", number(env, report.compressed_clusters));
    object.Set("fragmentedClusters", number(env, report.fragmented_clusters));
    object.Set("imageEndBytes", number(env, report.image_end));
    object.Set("findings", list_of(env, report.findings, [env](const qcow2::Finding &finding) {
                   Napi::Object found = Napi::Object::New(env);
                   found.Set("kind", finding.corruption ? "corruption" : "leak");
                   found.Set("message", finding.text);
                   return found;
               }));
    return object;
}

Napi::Value value_of(Napi::Env env, const ImageRuns &part) {
    static const char *const kinds[] = {"unallocated", "zeros", "data", "compressed", "bad"};
    Napi::Object object = Napi::Object::New(env);
    object.Set("runs", list_of(env, part.runs, [env](const qcow2::MapRun &run) {
                   Napi::Object found = Napi::Object::New(env);
                   found.Set("start", number(env, run.start));
                   found.Set("length", number(env, run.length));
                   found.Set("kind", kinds[run.kind]);
                   found.Set("offset", is_placed(run) ? number(env, run.host) : env.Null());
                   return found;
               }));
    object.Set("next", number(env, part.next));
    return object;
}

Napi::Value value_of(Napi::Env env, const ImageCompacted &done, const qcow2::Compaction &compaction) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("header", value_of(env, done.head));
    object.Set("refusal", done.refusal ? Napi::String::New(env, *done.refusal) : env.Null());
    object.Set("leaks", number(env, done.leaks));
    object.Set("zeroBytes", number(env, compaction.zeroed));
    object.Set("movedBytes", number(env, compaction.moved));
    object.Set("movedTableBytes", number(env, compaction.moved_tables));
    object.Set("fileBytes", range_value(env, done.file_before, done.file_after));
    object.Set("diskBytes", range_value(env, done.disk_before, done.disk_after));
    return object;
}

Napi::Value progress_value(Napi::Env env, const qcow2::Compaction &compaction) {
    static const char *const phases[] = {"zeros", "tables", "clusters", "holes"};
    Napi::Object object = Napi::Object::New(env);
    object.Set("phase", phases[compaction.phase]);
    object.Set("doneBytes", number(env, compaction.done));
    object.Set("totalBytes", number(env, compaction.total));
    return object;
}

} // namespace us::addon
