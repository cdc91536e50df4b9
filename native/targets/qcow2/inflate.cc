#include "targets/qcow2/inflate.h"

#define ZLIB_CONST // input is not written to
#include <zlib.h>
#include <zstd.h>

#include <memory>

namespace us::qcow2 {

namespace {

constexpr int RAW_WINDOW_BITS = -12;
// A frame may ask for more than a cluster of window; nobody who compresses clusters does.
constexpr int MAX_ZSTD_WINDOW_LOG = MAX_CLUSTER_BITS + 1;

// What a thread needs to inflate, and keeps for the next cluster: making it anew costs more than some
// clusters do.
struct ZlibStream {
    z_stream stream{};
    bool ready = false;

    bool reset() {
        if (ready) return inflateReset(&stream) == Z_OK;
        ready = inflateInit2(&stream, RAW_WINDOW_BITS) == Z_OK;
        return ready;
    }
    ~ZlibStream() {
        if (ready) inflateEnd(&stream);
    }
};

using ZstdContext = std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)>;

ZstdContext zstd_context() {
    ZstdContext context(ZSTD_createDCtx(), ZSTD_freeDCtx);
    if (context &&
        ZSTD_isError(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, MAX_ZSTD_WINDOW_LOG)))
        context.reset();
    return context;
}

bool inflate_zlib(std::span<const std::byte> data, std::span<std::byte> cluster) {
    thread_local ZlibStream kept;
    z_stream &stream = kept.stream;
    if (!kept.reset()) return false;
    stream.next_in = reinterpret_cast<const Bytef *>(data.data());
    stream.avail_in = static_cast<uInt>(data.size());
    stream.next_out = reinterpret_cast<Bytef *>(cluster.data());
    stream.avail_out = static_cast<uInt>(cluster.size());
    int result = ::inflate(&stream, Z_FINISH);
    // The end of the stream, or more to come that nobody wants: a full cluster is what counts.
    return (result == Z_STREAM_END || result == Z_BUF_ERROR || result == Z_OK) && stream.avail_out == 0;
}

bool inflate_zstd(std::span<const std::byte> data, std::span<std::byte> cluster) {
    thread_local ZstdContext context = zstd_context();
    if (!context) context = zstd_context();
    if (!context || ZSTD_isError(ZSTD_DCtx_reset(context.get(), ZSTD_reset_session_only))) return false;
    ZSTD_inBuffer in{data.data(), data.size(), 0};
    ZSTD_outBuffer out{cluster.data(), cluster.size(), 0};
    while (out.pos < out.size) {
        size_t in_before = in.pos, out_before = out.pos;
        if (ZSTD_isError(ZSTD_decompressStream(context.get(), &out, &in))) return false;
        if (in.pos == in_before && out.pos == out_before) return false; // it ends too early
    }
    return true;
}

} // namespace

bool inflate(Compression type, std::span<const std::byte> data, std::span<std::byte> cluster) {
    if (cluster.empty()) return true;
    return type == Compression::zstd ? inflate_zstd(data, cluster) : inflate_zlib(data, cluster);
}

} // namespace us::qcow2
