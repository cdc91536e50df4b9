#include "frontends/ublk/kernel_interface.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "engine/descriptor.h"
#include "frontends/ublk/program_image.h"
#include "frontends/ublk/type_info.h"

namespace us::ublk {

namespace {

// The kernel's type information: mapped, which spares copying some megabytes, where the kernel can
// (Linux 6.16).
class KernelTypes {
  public:
    KernelTypes() {
        Descriptor file(open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC));
        struct stat facts {};
        if (file.number() < 0 || fstat(file.number(), &facts) != 0)
            throw std::runtime_error("this kernel does not describe its types (CONFIG_DEBUG_INFO_BTF)");
        bytes_ = static_cast<size_t>(facts.st_size);
        mapped_ = mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file.number(), 0);
        if (mapped_ == MAP_FAILED) read_all(file.number());
    }
    ~KernelTypes() {
        if (mapped_ != MAP_FAILED) munmap(mapped_, bytes_);
    }
    KernelTypes(const KernelTypes &) = delete;
    KernelTypes &operator=(const KernelTypes &) = delete;

    std::span<const std::byte> bytes() const {
        if (mapped_ == MAP_FAILED) return copied_;
        return {static_cast<const std::byte *>(mapped_), bytes_};
    }

  private:
    void read_all(int fd) {
        copied_.resize(bytes_);
        for (size_t got = 0; got < bytes_;) {
            ssize_t n = read(fd, &copied_[got], bytes_ - got);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) throw std::runtime_error("cannot read the types of this kernel");
            got += static_cast<size_t>(n);
        }
    }

    size_t bytes_ = 0;
    void *mapped_ = MAP_FAILED;
    std::vector<std::byte> copied_;
};

const btf_member *member_named(const TypeInfo &types, const btf_type &structure, const char *name) {
    for (const btf_member &member : members(structure))
        if (strcmp(types.name(member.name_off), name) == 0) return &member;
    return nullptr;
}

uint32_t byte_offset(const btf_type &structure, const btf_member &member) {
    bool has_bits = structure.info >> 31; // then the upper bits are a bit field's size
    return (has_bits ? BTF_MEMBER_BIT_OFFSET(member.offset) : member.offset) / 8;
}

KernelInterface find_interface() {
    KernelTypes kernel;
    TypeInfo types(kernel.bytes());
    KernelInterface found;
    for (const ProgramImage::KernelCall &call : ProgramImage::get().kernel_calls)
        found.functions[call.function] = 0;

    const btf_type *ops = nullptr, *value = nullptr;
    types.each([&](uint32_t id, const btf_type &type) {
        const char *name = types.name(type.name_off);
        // Every name that is looked for begins so, and few others do.
        if (strncmp(name, "bpf_", 4) != 0 && strncmp(name, "io_", 3) != 0) return;
        uint32_t kind = kind_of(type.info);
        if (kind == BTF_KIND_STRUCT && strcmp(name, "io_uring_bpf_ops") == 0) {
            ops = &type;
            found.ops_type = id;
        } else if (kind == BTF_KIND_STRUCT && strcmp(name, "bpf_struct_ops_io_uring_bpf_ops") == 0) {
            value = &type;
            found.layout.value_type = id;
            found.layout.value_bytes = type.size;
        } else if (kind == BTF_KIND_FUNC) {
            if (auto function = found.functions.find(name); function != found.functions.end())
                function->second = id;
        }
    });
    if (!ops || !value)
        throw std::runtime_error("this kernel has no io_uring_bpf_ops (Linux 7.1, CONFIG_IO_URING_BPF_OPS)");
    for (const auto &[name, id] : found.functions)
        if (id == 0) throw std::runtime_error("this kernel lacks a function that the program calls: " + name);
    const btf_member *data = member_named(types, *value, "data"),
                     *step = member_named(types, *ops, "loop_step"),
                     *ring_fd = member_named(types, *ops, "ring_fd");
    if (!data || !step || !ring_fd) throw std::runtime_error("this kernel's io_uring_bpf_ops is another");
    found.step_index = static_cast<uint32_t>(step - members(*ops).data());
    found.layout.step_offset = byte_offset(*value, *data) + byte_offset(*ops, *step);
    found.layout.ring_fd_offset = byte_offset(*value, *data) + byte_offset(*ops, *ring_fd);
    if (found.layout.step_offset + sizeof(uint64_t) > found.layout.value_bytes ||
        found.layout.ring_fd_offset + sizeof(uint32_t) > found.layout.value_bytes)
        throw std::runtime_error("this kernel's io_uring_bpf_ops is another");
    return found;
}

} // namespace

const KernelInterface &KernelInterface::get() {
    static const KernelInterface found = find_interface();
    return found;
}

} // namespace us::ublk
