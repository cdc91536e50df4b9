#include <algorithm>

#include "targets/qcow2/create.h"

namespace us::qcow2 {

namespace {

class Encoder {
  public:
    Encoder(const Header &header, std::vector<std::byte> &cluster) : h_(header), cluster_(cluster) {}

    std::optional<Refusal> encode() {
        cluster_.assign(h_.cluster_bytes(), std::byte{0});
        write_fixed();
        if (h_.version >= 3) write_v3();
        end_ = h_.header_bytes;
        bool fits = write_extensions() && write_backing_name();
        if (fits) return {};
        return Refusal{
            Refusal::unsupported,
            "the names of its backing and data files do not fit the first cluster: larger clusters "
            "or shorter names are needed"};
    }

  private:
    template <typename T> void put(uint64_t at, T value) { store<T>(cluster_.data() + at, value); }

    void write_fixed() {
        put<uint32_t>(0, MAGIC);
        put<uint32_t>(4, h_.version);
        put<uint32_t>(20, h_.shape.cluster_bits);
        put<uint64_t>(24, h_.size);
        put<uint32_t>(32, static_cast<uint32_t>(h_.crypt));
        put<uint32_t>(36, h_.l1_entries);
        put<uint64_t>(40, h_.l1_offset);
        put<uint64_t>(48, h_.refcount_table_offset);
        put<uint32_t>(56, h_.refcount_table_clusters);
        put<uint32_t>(60, h_.nr_snapshots);
        put<uint64_t>(64, h_.snapshots_offset);
    }

    void write_v3() {
        put<uint64_t>(72, h_.incompatible);
        put<uint64_t>(80, h_.compatible);
        put<uint64_t>(88, h_.autoclear);
        put<uint32_t>(96, h_.refcount_order);
        put<uint32_t>(100, h_.header_bytes);
        if (h_.header_bytes > COMPRESSION_BYTE)
            put<uint8_t>(COMPRESSION_BYTE, static_cast<uint8_t>(h_.compression));
    }

    bool write_extension(uint32_t type, std::span<const std::byte> data) {
        uint64_t bytes = 8 + round_up(data.size(), 8);
        if (bytes > cluster_.size() - end_) return false;
        put<uint32_t>(end_, type);
        put<uint32_t>(end_ + 4, static_cast<uint32_t>(data.size()));
        std::copy(data.begin(), data.end(), cluster_.begin() + static_cast<std::ptrdiff_t>(end_ + 8));
        end_ += bytes;
        return true;
    }
    bool write_text(uint32_t type, const std::string &text) {
        return text.empty() || write_extension(type, std::as_bytes(std::span(text)));
    }

    bool write_extensions() {
        bool fits = write_text(EXTENSION_BACKING_FORMAT, h_.backing_format) &&
                    write_text(EXTENSION_DATA_FILE, h_.data_file_name) && write_bitmaps();
        for (const UnknownExtension &extension : h_.unknown_extensions)
            fits = fits && write_extension(extension.type, extension.data);
        // Names are a courtesy: where there is no room they are left out.
        if (fits) write_feature_names();
        fits = fits && cluster_.size() - end_ >= 8;
        if (fits) end_ += 8; // the end mark is all zeros
        return fits;
    }

    bool write_bitmaps() {
        if (!h_.bitmaps) return true;
        std::byte data[24]{};
        store<uint32_t>(data, h_.bitmaps->nr_bitmaps);
        store<uint64_t>(data + 8, h_.bitmaps->directory.bytes);
        store<uint64_t>(data + 16, h_.bitmaps->directory.offset);
        return write_extension(EXTENSION_BITMAPS, data);
    }

    void write_feature_names() {
        constexpr size_t ROW = 48;
        std::vector<std::byte> rows;
        for (const FeatureName &feature : h_.feature_names) {
            std::byte row[ROW]{std::byte{feature.type}, std::byte{feature.bit}};
            memcpy(row + 2, feature.name.data(), std::min<size_t>(feature.name.size(), ROW - 2));
            rows.insert(rows.end(), row, row + ROW);
        }
        uint64_t room = cluster_.size() - end_, wanted = 8 + rows.size() + 8 + h_.backing_name.size();
        if (!rows.empty() && wanted <= room) write_extension(EXTENSION_FEATURE_NAMES, rows);
    }

    bool write_backing_name() {
        if (h_.backing_name.empty()) return true;
        if (h_.backing_name.size() > std::min<uint64_t>(cluster_.size() - end_, MAX_BACKING_NAME_BYTES))
            return false;
        put<uint64_t>(8, end_);
        put<uint32_t>(16, static_cast<uint32_t>(h_.backing_name.size()));
        memcpy(cluster_.data() + end_, h_.backing_name.data(), h_.backing_name.size());
        return true;
    }

    const Header &h_;
    std::vector<std::byte> &cluster_;
    uint64_t end_ = 0;
};

} // namespace

std::optional<Refusal> encode_header(const Header &header, std::vector<std::byte> &cluster) {
    return Encoder(header, cluster).encode();
}

} // namespace us::qcow2
