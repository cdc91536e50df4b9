#include "frontends/ublk/bpf_calls.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace us::ublk::bpf {

namespace {

// include/uapi/linux/bpf.h of Linux 7.1, as far as Debian 12's header lacks it.
constexpr uint32_t MAP_WITH_LINK = 1u << 13, ATTACH_STRUCT_OPS = 44;

int command(bpf_cmd cmd, bpf_attr &attr, const char *what) {
    long result = syscall(SYS_bpf, cmd, &attr, sizeof(attr));
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return static_cast<int>(result);
}

uint64_t address(const void *of) {
    return reinterpret_cast<uintptr_t>(of);
}

// How the kernel's tools show it.
void name(char (&field)[BPF_OBJ_NAME_LEN], const char *text) {
    strncpy(field, text, sizeof(field) - 1);
}

bpf_attr map_of_one(bpf_map_type type, const char *called, size_t bytes, uint32_t flags) {
    bpf_attr attr{};
    attr.map_type = type;
    attr.key_size = sizeof(uint32_t);
    attr.value_size = static_cast<uint32_t>(bytes);
    attr.max_entries = 1;
    attr.map_flags = flags;
    name(attr.map_name, called);
    return attr;
}

Descriptor create(bpf_attr &map) {
    return Descriptor(command(BPF_MAP_CREATE, map, "cannot create a map"));
}

void update(const Descriptor &map, const void *value) {
    uint32_t key = 0;
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map.number());
    attr.key = address(&key);
    attr.value = address(value);
    command(BPF_MAP_UPDATE_ELEM, attr, "cannot set the value of a map");
}

} // namespace

Descriptor load_types(std::span<const std::byte> btf) {
    bpf_attr attr{};
    attr.btf = address(btf.data());
    attr.btf_size = static_cast<uint32_t>(btf.size());
    return Descriptor(command(BPF_BTF_LOAD, attr, "cannot load the program's types"));
}

Descriptor create_constants(std::span<const std::byte> value) {
    bpf_attr attr = map_of_one(BPF_MAP_TYPE_ARRAY, "loop.rodata", value.size(), BPF_F_RDONLY_PROG);
    Descriptor map = create(attr);
    update(map, value.data());
    attr = {};
    attr.map_fd = static_cast<uint32_t>(map.number());
    command(BPF_MAP_FREEZE, attr, "cannot freeze a map");
    return map;
}

std::vector<std::byte> read_constants(const Descriptor &map, size_t bytes) {
    std::vector<std::byte> value(bytes);
    uint32_t key = 0;
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map.number());
    attr.key = address(&key);
    attr.value = address(value.data());
    command(BPF_MAP_LOOKUP_ELEM, attr, "cannot read the value of a map");
    return value;
}

Descriptor create_words(size_t bytes) {
    bpf_attr attr = map_of_one(BPF_MAP_TYPE_ARRAY, "loop.bss", bytes, BPF_F_MMAPABLE);
    return create(attr);
}

Descriptor load_step(const ProgramImage &image, std::span<const bpf_insn> instructions,
                     const KernelInterface &kernel, const Descriptor &types, std::span<char> log) {
    bpf_attr attr{};
    attr.prog_type = BPF_PROG_TYPE_STRUCT_OPS;
    attr.insn_cnt = static_cast<uint32_t>(instructions.size());
    attr.insns = address(instructions.data());
    attr.license = address(image.license.c_str());
    attr.prog_flags = BPF_F_SLEEPABLE;
    name(attr.prog_name, "loop_step");
    attr.attach_btf_id = kernel.ops_type;
    attr.expected_attach_type = kernel.step_index;
    attr.prog_btf_fd = static_cast<uint32_t>(types.number());
    attr.func_info_rec_size = sizeof(bpf_func_info);
    attr.func_info = address(image.functions.data());
    attr.func_info_cnt = static_cast<uint32_t>(image.functions.size());
    attr.line_info_rec_size = sizeof(bpf_line_info);
    attr.line_info = address(image.lines.data());
    attr.line_info_cnt = static_cast<uint32_t>(image.lines.size());
    if (!log.empty()) {
        attr.log_level = 1;
        attr.log_buf = address(log.data());
        attr.log_size = static_cast<uint32_t>(log.size());
    }
    return Descriptor(command(BPF_PROG_LOAD, attr, "cannot load the program"));
}

Descriptor attach(const OpsLayout &layout, const Descriptor &types, const Descriptor &program, int ring_fd) {
    std::vector<std::byte> value(layout.value_bytes);
    auto step = static_cast<uint64_t>(program.number());
    memcpy(&value[layout.step_offset], &step, sizeof(step));
    memcpy(&value[layout.ring_fd_offset], &ring_fd, sizeof(ring_fd));
    bpf_attr attr = map_of_one(BPF_MAP_TYPE_STRUCT_OPS, "loop", value.size(), MAP_WITH_LINK);
    attr.btf_vmlinux_value_type_id = layout.value_type;
    attr.btf_fd =
        static_cast<uint32_t>(types.number()); // the kernel wants to have one, and looks at nothing in it
    Descriptor map = create(attr);
    update(map, value.data());

    attr = {};
    attr.link_create.prog_fd = static_cast<uint32_t>(map.number()); // map_fd, of the same place
    attr.link_create.attach_type = ATTACH_STRUCT_OPS;
    return Descriptor(command(BPF_LINK_CREATE, attr, "cannot attach the program"));
}

Runs runs(const Descriptor &program) {
    bpf_prog_info info{};
    bpf_attr attr{};
    attr.info.bpf_fd = static_cast<uint32_t>(program.number());
    attr.info.info_len = sizeof(info);
    attr.info.info = address(&info);
    if (syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) < 0) return {};
    return {info.run_time_ns, info.run_cnt};
}

} // namespace us::ublk::bpf
