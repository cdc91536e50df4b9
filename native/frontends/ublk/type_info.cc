#include "frontends/ublk/type_info.h"

#include <stdexcept>

namespace us::ublk {

TypeInfo::TypeInfo(std::span<const std::byte> bytes) {
    if (bytes.size() < sizeof(btf_header)) malformed();
    auto *header = reinterpret_cast<const btf_header *>(bytes.data());
    if (header->magic != BTF_MAGIC || header->hdr_len > bytes.size()) malformed();
    std::span<const std::byte> body = bytes.subspan(header->hdr_len);
    if (header->type_off > body.size() || header->type_len > body.size() - header->type_off ||
        header->str_off > body.size() || header->str_len > body.size() - header->str_off ||
        header->str_len == 0)
        malformed();
    types_offset_ = header->hdr_len + header->type_off;
    types_ = body.subspan(header->type_off, header->type_len);
    names_ = {reinterpret_cast<const char *>(&body[header->str_off]), header->str_len};
    if (names_.back() != '\0') malformed();
}

void TypeInfo::malformed() {
    throw std::runtime_error("type information that cannot be read");
}

} // namespace us::ublk
