// BTF, the type information of the kernel and of BPF programs (Documentation/bpf/btf.rst): a header, records
// of types, numbered from 1 in their order, and names. There are some hundred thousand in a kernel, so one
// pass looks for everything at once.
#pragma once

#include <linux/btf.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace us::ublk {

// With the bits that older kernels keep at zero and newer ones use.
inline uint32_t kind_of(uint32_t info) {
    return info >> 24 & 0x7f;
}
inline uint32_t count_of(uint32_t info) {
    return info & 0xffffff;
}

class TypeInfo {
  public:
    // A view of `bytes`, which outlive it. Throws std::runtime_error when they are not BTF.
    explicit TypeInfo(std::span<const std::byte> bytes);

    // Calls visit(id, type) for every type; throws std::runtime_error at a record that is none.
    template <typename Visit> void each(Visit visit) const {
        uint32_t id = 1;
        for (const std::byte *at = types_.data(), *end = at + types_.size(); at != end; id++) {
            auto *type = reinterpret_cast<const btf_type *>(at);
            auto left = static_cast<size_t>(end - at);
            size_t bytes = left < sizeof(btf_type) ? SIZE_MAX : record_bytes(type->info);
            if (bytes > left) malformed();
            visit(id, *type);
            at += bytes;
        }
    }

    // Offset of the types in all bytes.
    size_t types_offset() const { return types_offset_; }
    const char *name(uint32_t offset) const { return offset < names_.size() ? &names_[offset] : ""; }

  private:
    static size_t record_bytes(uint32_t info) {
        uint32_t kind = kind_of(info);
        return kind < KINDS ? sizeof(btf_type) + FIXED[kind] + size_t{count_of(info)} * EACH[kind] : SIZE_MAX;
    }
    [[noreturn]] static void malformed();

    // What follows the record of each kind: once, and for each of its parts.
    static constexpr size_t KINDS = 20;
    static constexpr uint8_t FIXED[KINDS] = {0, 4, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 4, 0, 0};
    static constexpr uint8_t EACH[KINDS] = {0, 0, 0, 0, 12, 12, 8, 0, 0, 0, 0, 0, 0, 8, 0, 12, 0, 0, 0, 12};

    std::span<const std::byte> types_;
    std::span<const char> names_;
    size_t types_offset_ = 0;
};

inline std::span<const btf_member> members(const btf_type &structure) {
    return {reinterpret_cast<const btf_member *>(&structure + 1), count_of(structure.info)};
}

} // namespace us::ublk
