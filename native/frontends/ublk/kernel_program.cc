#include "frontends/ublk/kernel_program.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <system_error>
#include <vector>

#include "bpf/loop_object.h"

namespace us::ublk {

namespace {

constexpr size_t LOG_BYTES = 1 << 20;
constexpr int ENOTSUPP = 524; // include/linux/errno.h: meant for the kernel alone, but bpf(2) answers it

int silent(libbpf_print_level, const char *, va_list) {
    return 0; // the verifier's log is kept apart, and the rest is said by our own errors
}

// Offset of a variable in its section, by the object's own type information.
int64_t offset_of(bpf_object *object, const char *section, const char *variable) {
    btf *types = bpf_object__btf(object);
    int id = btf__find_by_name_kind(types, section, BTF_KIND_DATASEC);
    if (id < 0) return -1;
    const btf_type *type = btf__type_by_id(types, static_cast<uint32_t>(id));
    const btf_var_secinfo *info = btf_var_secinfos(type);
    for (uint32_t i = 0; i < btf_vlen(type); i++) {
        const btf_type *named = btf__type_by_id(types, info[i].type);
        if (strcmp(btf__name_by_offset(types, named->name_off), variable) == 0) return info[i].offset;
    }
    return -1;
}

bpf_map *map_ending_in(bpf_object *object, const char *suffix) {
    for (bpf_map *map = bpf_object__next_map(object, nullptr); map; map = bpf_object__next_map(object, map)) {
        std::string name = bpf_map__name(map);
        if (name.ends_with(suffix)) return map;
    }
    return nullptr;
}

size_t checked_offset(bpf_object *object, const char *section, const char *variable, size_t bytes,
                      size_t section_bytes) {
    int64_t at = offset_of(object, section, variable);
    if (at < 0 || static_cast<size_t>(at) + bytes > section_bytes)
        throw ProgramRefused(std::string("the program has no ") + variable, {});
    return static_cast<size_t>(at);
}

// Before loading.
void freeze(bpf_object *object, const char *variable, const void *value, size_t bytes) {
    size_t section_bytes = 0;
    bpf_map *map = map_ending_in(object, ".rodata");
    char *begin = map ? static_cast<char *>(bpf_map__initial_value(map, &section_bytes)) : nullptr;
    memcpy(begin + checked_offset(object, ".rodata", variable, bytes, section_bytes), value, bytes);
}

// In plain words what an errno of loading means. Older kernels refuse with EINVAL what they do not know, as
// the verifier does, and with EPERM whoever has no rights.
std::string refusal(int error) {
    if (std::string missing = KernelProgram::missing_in_kernel(); !missing.empty()) return missing;
    switch (error) {
    case EPERM:
        return "no right to load programs (needs CAP_BPF and CAP_PERFMON; seccomp or lockdown may forbid it)";
    case ESRCH:
    case ENOENT:
        return "this kernel lacks a function that the program calls";
    case EACCES:
    case EINVAL:
    case E2BIG:
        return "the kernel's verifier does not take the program";
    case ENOTSUPP:
        return "the kernel's compiler for BPF is off (net.core.bpf_jit_enable) or cannot call its functions";
    default:
        return strerror(error);
    }
}

} // namespace

std::string KernelProgram::missing_in_kernel() {
    btf *types = btf__load_vmlinux_btf();
    if (!types) return "this kernel does not describe its types (CONFIG_DEBUG_INFO_BTF)";
    bool known = btf__find_by_name_kind(types, "io_uring_bpf_ops", BTF_KIND_STRUCT) > 0;
    btf__free(types);
    return known ? "" : "this kernel has no io_uring_bpf_ops (Linux 7.1, CONFIG_IO_URING_BPF_OPS)";
}

KernelProgram::KernelProgram(int ring_fd, const us_loop_config &config, const us_loop_leaf *leaves,
                             const us_table &table) {
    libbpf_set_print(silent);
    object_ = bpf_object__open_mem(loop_object, sizeof(loop_object), nullptr);
    if (!object_) throw ProgramRefused(std::string("cannot read the program: ") + strerror(errno), {});
    std::vector<char> log(LOG_BYTES);
    try {
        freeze(object_, "config", &config, sizeof(config));
        freeze(object_, "leaves", leaves, sizeof(us_loop_leaf) * US_MAX_LAYERS);
        freeze(object_, "table", &table, sizeof(table));
        bpf_map *ops = map_ending_in(object_, "loop");
        size_t bytes = 0;
        void *initial = ops ? bpf_map__initial_value(ops, &bytes) : nullptr;
        if (!initial || bytes < 12) throw ProgramRefused("the program has no struct_ops", {});
        memcpy(static_cast<char *>(initial) + 8, &ring_fd, sizeof(ring_fd)); // io_uring_bpf_ops.ring_fd

        bpf_program *program = bpf_object__next_program(object_, nullptr);
        bpf_program__set_log_buf(program, log.data(), log.size());
        if (int error = bpf_object__load(object_)) throw ProgramRefused(refusal(-error), log.data());
        program_fd_ = bpf_program__fd(program);

        map_words();

        link_ = bpf_map__attach_struct_ops(ops);
        if (!link_) throw ProgramRefused(std::string("cannot attach the program: ") + strerror(errno), {});
    } catch (...) {
        if (words_ != nullptr) munmap(words_, words_bytes_);
        bpf_object__close(object_);
        throw;
    }
}

// The program's .bss, shared with it.
void KernelProgram::map_words() {
    bpf_map *map = map_ending_in(object_, ".bss");
    if (!map) throw ProgramRefused("the program has no words", {});
    auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_t bytes = bpf_map__value_size(map);
    words_bytes_ = (bytes + page - 1) / page * page;
    void *at = mmap(nullptr, words_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
    if (at == MAP_FAILED)
        throw std::system_error(errno, std::generic_category(), "cannot map the program's words");
    words_ = static_cast<char *>(at);
    auto place = [&](const char *variable, size_t size) {
        return words_ + checked_offset(object_, ".bss", variable, size, bytes);
    };
    tags_ = reinterpret_cast<us_loop_tag *>(place("tags", US_LOOP_MAX_TAGS * sizeof(us_loop_tag)));
    counters_ = reinterpret_cast<us_loop_counters *>(place("counters", sizeof(us_loop_counters)));
}

KernelProgram::~KernelProgram() {
    bpf_link__destroy(link_);
    if (words_ != nullptr) munmap(words_, words_bytes_);
    bpf_object__close(object_);
}

KernelProgram::Runs KernelProgram::runs() const {
    bpf_prog_info info{};
    uint32_t bytes = sizeof(info);
    if (bpf_obj_get_info_by_fd(program_fd_, &info, &bytes) != 0) return {};
    return {info.run_time_ns, info.run_cnt};
}

} // namespace us::ublk
