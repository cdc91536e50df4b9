// From a base of any kind to an image that can be served: looked at, made where there is none, compared with
// what the stack says of it.
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>

#include "targets/durable_file.h"
#include "targets/qcow2/qcow2.h"
#include "targets/qcow2/read_head.h"
#include "targets/qcow2/repair.h"

namespace us {

using namespace qcow2;
using nlohmann::json;

namespace {

constexpr uint64_t BLANK_BYTES = 1 << 20;   // at the beginning and at the end: where signatures are
constexpr uint64_t FIRST_LOOK_BYTES = 4096; // which most media that are not blank give away
constexpr uint64_t PREALLOCATE_BYTES = 1 << 30;

std::string bits_or_bytes(uint64_t value, const char *unit) {
    return std::to_string(value) + " " + unit;
}

// As the specification's words go for a name in a header: relative to the image's folder.
std::string absolute(const std::string &name, const std::string &image) {
    std::filesystem::path path(name);
    if (path.is_relative()) path = std::filesystem::path(image).parent_path() / path;
    return path.lexically_normal().string();
}

} // namespace

Qcow2::Trouble Qcow2::trouble(const std::string &code, const std::string &message) const {
    return ConfigError(code, "layer \"" + config().name + "\": " + message, config().name);
}

Qcow2::Trouble Qcow2::failed(const char *what, int error) const {
    if (error == -EUCLEAN)
        return trouble("image-corrupt", std::string(what) +
                                            ": the image contradicts itself; see ublk-stack image "
                                            "check, and qemu-img check -r to repair it");
    const char *code = error == -ENOSPC ? "no-space" : error == -EROFS ? "permission-denied" : "io-error";
    return trouble(code, std::string(what) + ": " + strerror(-error));
}

Task<Qcow2::Trouble> Qcow2::open(Executor &executor) {
    base_ = std::make_unique<LayerMedia>(place_of(0));
    uint32_t child = 1;
    if (config().params.value("backing", false)) backing_ = std::make_unique<LayerMedia>(place_of(child++));
    if (config().params.value("dataFile", false)) data_child_ = child;
    if (data_child_ != 0) data_ = std::make_unique<LayerMedia>(place_of(data_child_));
    Trouble trouble = co_await open_media(executor);
    if (trouble) image_.reset();
    opened_.store(!trouble, std::memory_order_release);
    co_return trouble;
}

Task<Qcow2::Trouble> Qcow2::open_media(Executor &executor) {
    const std::string create = config().params.value("create", "ifBlank");
    bool anew = create == "always" && !made_before_ && !config().read_only, blank = false;
    if (!anew) {
        if (int error = co_await is_blank(blank)) co_return failed("looking for an image", error);
        if (blank && (create == "never" || config().read_only))
            co_return trouble("image-missing", std::string("there is no image on \"") +
                                                   context_.members[0].name + "\", and " +
                                                   (create == "never" ? "create: never forbids to make one"
                                                                      : "a read-only layer makes none"));
    }
    if (anew || blank) {
        Trouble made = co_await make();
        if (made) co_return made;
    }
    Buffer head;
    if (int error = co_await read_head(*base_, head)) co_return failed("reading the header", error);
    Header header;
    if (auto refusal = parse_header(head.span(), base_->size(), header)) {
        std::string where = "\"" + context_.members[0].name + "\"";
        if (refusal->kind == Refusal::foreign)
            co_return trouble(
                "image-foreign",
                where + " holds something that is no qcow2 image; one is made on blank media only, or "
                        "with create: always and overwrite: true");
        co_return trouble("image-refused", "the image on " + where + " cannot be served: " + refusal->text);
    }
    if (Trouble differs = compare(header)) co_return differs;
    Trouble trouble = co_await open_image(executor, std::move(header));
    co_return trouble;
}

Task<int> Qcow2::is_blank(bool &blank) {
    blank = false;
    uint64_t size = base_->size(), bytes = std::min(size, BLANK_BYTES);
    Buffer buffer(bytes);
    if (bytes != 0 && !buffer) co_return -ENOMEM;
    for (auto [at, length] : {std::pair{uint64_t{0}, std::min(bytes, FIRST_LOOK_BYTES)},
                              {uint64_t{0}, bytes},
                              {size - bytes, bytes}}) {
        auto read = buffer.span().first(length);
        if (int error = co_await base_->read(at, read)) co_return error;
        // The header comes last: without it there are tables of a predecessor that did not come so far.
        size_t looks_at = read.size();
        if (at == 0 && !unfinished_.empty() && unfinished_ == base_identity_)
            looks_at = std::min<size_t>(looks_at, US_SECTOR_BYTES);
        auto end = read.begin() + static_cast<std::ptrdiff_t>(looks_at);
        if (std::any_of(read.begin(), end, [](std::byte b) { return b != std::byte{0}; })) co_return 0;
        if (looks_at != read.size()) break;
    }
    blank = true;
    co_return 0;
}

Qcow2::Trouble Qcow2::make_options(CreateOptions &o) const {
    const json &params = config().params;
    uint64_t cluster = params.value("clusterBytes", uint64_t{65536}),
             bits = params.value("refcountBits", uint64_t{16});
    if (!std::has_single_bit(cluster) || !std::has_single_bit(bits))
        return trouble("bad-value", "clusterBytes and refcountBits are powers of two");
    o.size = config().size;
    o.cluster_bits = static_cast<uint32_t>(std::countr_zero(cluster));
    o.refcount_order = static_cast<uint32_t>(std::countr_zero(bits));
    o.version = params.value("version", 3u);
    o.extended_l2 = params.value("extendedL2", false);
    o.lazy_refcounts = params.value("lazyRefcounts", false);
    o.compression = params.value("compression", "zlib") == "zstd" ? Compression::zstd : Compression::zlib;
    if (backing_) {
        o.backing_name = context_.members[1].image_name;
        o.backing_format = context_.members[1].image_format;
    }
    if (data_) o.data_file_name = context_.members[data_child_].image_name;
    o.preallocate_metadata = params.value("preallocation", "off") != "off";
    return {};
}

Task<Qcow2::Trouble> Qcow2::make() {
    CreateOptions options;
    if (Trouble bad = make_options(options)) co_return bad;
    const std::string preallocation = config().params.value("preallocation", "off");
    // A file that is empty reads zeros wherever nothing has been written to it.
    options.media_is_zero = base_->size() == 0 && (!data_ || data_->size() == 0);
    unlinkat(run_dir_, ("qcow2-" + config().name).c_str(), 0); // of an image that was here before
    if (int error = write_state({{"version", 1}, {"making", base_identity_}}))
        co_return failed("writing its state", error);
    Created created = co_await create(*base_, options);
    if (created.refusal) co_return trouble("bad-value", "an image cannot be made: " + created.refusal->text);
    if (created.error != 0) co_return failed("making an image", created.error);
    if (preallocation == "falloc" || preallocation == "full") {
        if (int error = co_await preallocate(data_ ? Range{0, config().size} : created.data))
            co_return failed("preallocating", error);
    }
    context_.notice(false, "layer \"" + config().name + "\": made a qcow2 image of " +
                               std::to_string(config().size) + " bytes on \"" + context_.members[0].name +
                               "\"");
    co_return Trouble{};
}

// falloc: space without writing, where the base can. full: written.
Task<int> Qcow2::preallocate(const Range &data) {
    bool full = config().params.value("preallocation", "") == "full";
    LayerMedia &media = data_ ? *data_ : *base_;
    std::vector<std::byte> zeros(full ? BLANK_BYTES : 0);
    for (uint64_t at = data.offset; at < data.end();) {
        uint64_t now = std::min(data.end() - at, full ? BLANK_BYTES : PREALLOCATE_BYTES);
        int error = 0;
        if (full)
            error = co_await media.write(at, std::span(zeros).first(now));
        else
            error = co_await media.zero(at, now, true);
        if (error != 0) co_return error;
        at += now;
    }
    int error = co_await media.flush();
    co_return error;
}

Qcow2::Trouble Qcow2::compare(const Header &header) const {
    const json &params = config().params;
    std::string differs;
    auto same = [&](const char *key, const json &has, const char *option) {
        if (!differs.empty() || !params.contains(key) || params[key] == has) return;
        differs = std::string(option) + ": the stack says " + params[key].dump() + ", and the image has " +
                  has.dump();
    };
    same("clusterBytes", header.cluster_bytes(), "clusterSize");
    same("refcountBits", header.refcount_bits(), "refcountBits");
    same("version", header.version, "version");
    same("extendedL2", header.shape.extended != 0, "extendedL2");
    same("lazyRefcounts", (header.compatible & COMPATIBLE_LAZY_REFCOUNTS) != 0, "lazyRefcounts");
    same("compression", header.compression == Compression::zstd ? "zstd" : "zlib", "compression");
    bool grows = header.size < config().size && !config().read_only;
    if (differs.empty() && header.size != config().size && !grows)
        differs = "size: the stack says " + bits_or_bytes(config().size, "bytes") + ", and the image has " +
                  bits_or_bytes(header.size, "bytes");
    if (!differs.empty()) return trouble("image-differs", differs);
    if (Trouble differs_too =
            compare_file("data file", "dataFile", header.data_file_name, data_ ? data_child_ : 0))
        return differs_too;
    uint32_t block = context_.members[0].block;
    if (header.cluster_bytes() < block)
        return trouble("image-differs", "clusters of " + bits_or_bytes(header.cluster_bytes(), "bytes") +
                                            " on a base with blocks of " + bits_or_bytes(block, "bytes"));
    return compare_file("backing file", "backing", header.backing_name, backing_ ? 1 : 0);
}

// Images are untrusted: what a header names is never opened, only compared with what the stack names. child:
// 0 for none.
Qcow2::Trouble Qcow2::compare_file(const std::string &what, const std::string &option,
                                   const std::string &name, uint32_t child) const {
    if (child == 0) {
        if (name.empty()) return {};
        return trouble("image-differs",
                       "the image has the " + what + " \"" + name + "\", and the stack names no " + option);
    }
    const MemberNow &member = context_.members[child], &base = context_.members[0];
    if (name.empty())
        return trouble("image-differs",
                       "the stack names the " + what + " \"" + member.name + "\", and the image has none");
    if (name == member.image_name ||
        absolute(name, base.image_name) == absolute(member.image_name, base.image_name))
        return {};
    return trouble("image-differs", "the image has the " + what + " \"" + name +
                                        "\", and the stack names \"" + member.name + "\", which is \"" +
                                        member.image_name + "\"");
}

Task<Qcow2::Trouble> Qcow2::open_image(Executor &executor, Header header) {
    const bool writes = !config().read_only;
    if (writes && header.has(INCOMPATIBLE_CORRUPT))
        co_return trouble("image-corrupt",
                          "the image is marked as corrupt: repair it with qemu-img check -r all, or "
                          "serve it with readOnly: true");
    // We see all that a killed predecessor has written, its header too, and a power cut may still take some
    // of it back: nothing is built on that before it is durable. What the header led to before may be free
    // now.
    if (writes && (!ended_in_order_ || !unfinished_.empty())) {
        if (int error = co_await base_->flush())
            co_return failed("making durable what a killed server has written", error);
    }
    bool taken_over = false;
    if (int error = hold(header, taken_over)) co_return failed("keeping tables in the run directory", error);
    if (taken_over) {
        leaks_ = true; // what it was about to give up is known to nobody
        context_.notice(true, "layer \"" + config().name +
                                  "\": took over tables that a killed server had not written yet");
    } else if (writes && (needs_repair(header) || leaks_ || !ended_in_order_)) {
        image_.reset();
        if (Trouble broken = co_await repair_image(header)) co_return broken;
        if (int error = hold(header, taken_over))
            co_return failed("keeping tables in the run directory", error);
    }
    if (int error = co_await image_->load()) co_return failed("reading its tables", error);
    if (!writes) {
        image_->serve_mapped(config().geometry.logical_block);
        co_return Trouble{};
    }
    if (int error = record(true)) co_return failed("writing its state", error);
    if (int error = co_await image_->begin_writing()) co_return failed("beginning to write", error);
    Trouble stays = co_await grow(executor);
    if (!stays) image_->serve_mapped(config().geometry.logical_block);
    co_return stays;
}

Task<Qcow2::Trouble> Qcow2::grow(Executor &executor) {
    uint64_t before = image_->size();
    if (before == config().size) co_return Trouble{};
    int error = co_await image_->resize(executor, config().size);
    if (error == -ENOTSUP)
        co_return trouble("image-differs", "a disk of version 2 with snapshots does not grow: it has " +
                                               bits_or_bytes(before, "bytes"));
    if (error != 0) co_return failed("growing", error);
    context_.notice(false, "layer \"" + config().name + "\": grew from " + bits_or_bytes(before, "bytes") +
                               " to " + bits_or_bytes(config().size, "bytes"));
    co_return Trouble{};
}

// The image, and the memory of its tables, which outlives a server that may write. A read-only one has it
// only to show what a predecessor that was not has left.
int Qcow2::hold(const Header &header, bool &taken_over) {
    ImageOptions options;
    options.cache_bytes = config().params.value("cacheBytes", options.cache_bytes);
    // Words are memory, too.
    uint64_t words = sizeof(uint64_t) << (context_.layer.param[US_FORMAT_PLACE] >> 32);
    options.cache_bytes -= std::min(words, options.cache_bytes / 2);
    options.backing = backing_.get();
    options.data = data_.get();
    options.map = words_.get();
    options.inflater = &inflater_;
    std::string owner =
        context_.boot_id + "\n" + base_identity_ + "\n" + std::to_string(header.shape.cluster_bits);
    image_ = std::make_unique<Image>(*base_, header, options);
    std::string kept = "qcow2-" + config().name;
    if (config().read_only && faccessat(run_dir_, kept.c_str(), F_OK, 0) != 0) return 0;
    return image_->keep_in(run_dir_, kept, owner, taken_over);
}

Task<Qcow2::Trouble> Qcow2::repair_image(Header &header) {
    bool dirty = needs_repair(header);
    Repaired repaired = co_await repair(*base_, header);
    if (repaired.refusal)
        co_return trouble("image-corrupt", "the image is broken, and left as it is: " + *repaired.refusal);
    if (repaired.error != 0) co_return failed("repairing its refcounts", repaired.error);
    leaks_ = false;
    if (dirty || repaired.leaks != 0)
        context_.notice(dirty, "layer \"" + config().name + "\": set right after an end without order: " +
                                   std::to_string(repaired.leaks) + " leaked clusters, " +
                                   std::to_string(repaired.corruptions) + " refcounts that were too low");
    co_return Trouble{};
}

int Qcow2::record(bool open) {
    return write_state({{"version", 1}, {"made", true}, {"open", open}, {"leaks", leaks_}});
}

int Qcow2::write_state(const json &text) {
    return write_durably(context_.state_dir, "qcow2-" + config().name + ".json", text.dump() + "\n");
}

} // namespace us
