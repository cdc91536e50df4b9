// What the image library says of a file, as JSON: for tests that ask qemu-img the same.
//
//     image-tool info|check|map FILE
//     image-tool read FILE             the guest's disk on standard output, zeros for what a backing file has
//     image-tool rewrite FILE          its header anew
//     image-tool repair FILE           its refcounts counted anew
//     image-tool create FILE OPTIONS   OPTIONS: a JSON object of CreateOptions
//
// Exit status: 0, or 1 with { refused } when the image is not opened, or not made.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <iostream>

#include <nlohmann/json.hpp>

#include "contents.h"
#include "media.h"
#include "targets/qcow2/check.h"
#include "targets/qcow2/create.h"
#include "targets/qcow2/repair.h"
#include "targets/qcow2/snapshots.h"

using namespace us::qcow2;
using nlohmann::json;

static json info(Media &media, const Header &header) {
    json snapshots = json::array();
    SnapshotsRead read = finished(read_snapshots(media, header));
    for (const Snapshot &s : read.table.snapshots)
        snapshots.push_back(
            {{"id", s.id}, {"name", s.name}, {"size", s.size}, {"vmState", s.vm_state_bytes}});
    return {{"version", header.version},
            {"size", header.size},
            {"cluster", header.cluster_bytes()},
            {"extended", header.shape.extended != 0},
            {"refcountBits", header.refcount_bits()},
            {"lazy", (header.compatible & COMPATIBLE_LAZY_REFCOUNTS) != 0},
            {"dirty", header.has(INCOMPATIBLE_DIRTY)},
            {"corrupt", header.has(INCOMPATIBLE_CORRUPT)},
            {"compression", header.compression == Compression::zstd ? "zstd" : "zlib"},
            {"backing", header.backing_name},
            {"backingFormat", header.backing_format},
            {"dataFile", header.data_file_name},
            {"dataFileRaw", (header.autoclear & AUTOCLEAR_DATA_FILE_RAW) != 0},
            {"bitmaps", header.bitmaps ? header.bitmaps->nr_bitmaps : 0},
            {"snapshots", snapshots}};
}

static json checked(Media &media, const Header &header) {
    CheckReport report = finished(check(media, header));
    json findings = json::array();
    for (const Finding &finding : report.findings)
        findings.push_back(finding.text);
    return {{"error", report.error},
            {"corruptions", report.corruptions},
            {"leaks", report.leaks},
            {"total", report.total_clusters},
            {"allocated", report.allocated_clusters},
            {"compressed", report.compressed_clusters},
            {"fragmented", report.fragmented_clusters},
            {"end", report.image_end},
            {"findings", findings}};
}

static json mapped(Media &media, const Header &header) {
    static const char *const kinds[] = {"unallocated", "zero", "data", "compressed", "bad"};
    std::vector<MapRun> runs;
    int error = finished(map(media, header, 0, header.size, runs));
    json answer = json::array();
    for (const MapRun &run : runs)
        answer.push_back(
            {{"start", run.start}, {"length", run.length}, {"kind", kinds[run.kind]}, {"host", run.host}});
    return {{"error", error}, {"runs", answer}};
}

static int read_all(Media &media, const Header &header) {
    auto print = [](std::span<const std::byte> bytes) {
        std::cout.write(reinterpret_cast<const char *>(bytes.data()),
                        static_cast<std::streamsize>(bytes.size()));
    };
    return read_disk(media, header, print) ? 0 : 2;
}

static json repaired(Media &media, Header &header) {
    Repaired done = finished(repair(media, header));
    json answer = {{"error", done.error}, {"corruptions", done.corruptions}, {"leaks", done.leaks}};
    if (done.refusal) answer["refusal"] = *done.refusal;
    return answer;
}

static int rewrite(Media &media, const Header &header) {
    std::vector<std::byte> first;
    return encode_header(header, first) || finished(media.write(0, first)) != 0 ? 2 : 0;
}

static json refused(const Refusal &refusal) {
    static const char *const kinds[] = {"foreign", "invalid", "unsupported"};
    return {{"refused", kinds[refusal.kind]}, {"text", refusal.text}};
}

static int make(const char *path, const json &o) {
    CreateOptions options;
    options.size = o.at("size");
    options.version = o.value("version", options.version);
    options.cluster_bits = o.value("clusterBits", options.cluster_bits);
    options.refcount_order = o.value("refcountOrder", options.refcount_order);
    options.extended_l2 = o.value("extended", false);
    options.lazy_refcounts = o.value("lazy", false);
    options.compression = o.value("zstd", false) ? Compression::zstd : Compression::zlib;
    options.backing_name = o.value("backing", "");
    options.backing_format = o.value("backingFormat", "");
    options.data_file_name = o.value("dataFile", "");
    options.data_file_raw = o.value("dataFileRaw", false);
    options.preallocate_metadata = o.value("preallocate", false);
    options.media_is_zero = o.value("zero", false);
    FileMedia media(opened(path, O_RDWR | O_CREAT));
    Created created = finished(create(media, options));
    if (created.refusal)
        std::cout << refused(*created.refusal) << "\n";
    else
        std::cout << json{{"error", created.error},
                          {"dataOffset", created.data.offset},
                          {"dataBytes", created.data.bytes}}
                  << "\n";
    return created.refusal ? 1 : 0;
}

int main(int argc, char **argv) {
    std::string verb = argc >= 3 ? argv[1] : "";
    if (verb == "create" && argc == 4) return make(argv[2], json::parse(argv[3]));
    bool writes = verb == "rewrite" || verb == "repair";
    bool known = verb == "info" || verb == "check" || verb == "map" || verb == "read" || writes;
    if (argc != 3 || !known) {
        std::cerr
            << "usage: image-tool info|check|map|read|rewrite|repair FILE, image-tool create FILE OPTIONS\n";
        return 2;
    }
    FileMedia media(opened(argv[2], writes ? O_RDWR : O_RDONLY));
    if (media.size() == 0) return perror(argv[2]), 2;
    Header header;
    if (auto refusal = open_image(media, header)) {
        std::cout << refused(*refusal) << "\n";
        return 1;
    }
    if (verb == "read") return read_all(media, header);
    if (verb == "rewrite") return rewrite(media, header);
    json answer = verb == "info"     ? info(media, header)
                  : verb == "check"  ? checked(media, header)
                  : verb == "repair" ? repaired(media, header)
                                     : mapped(media, header);
    std::cout << answer << "\n";
    return 0;
}
