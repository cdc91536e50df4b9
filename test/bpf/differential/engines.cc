#include "engines.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <fstream>

#include "core/walk.h"

namespace us::differential {

namespace {

constexpr size_t LOG_BYTES = 1 << 22;
constexpr const char *PROGRAMS[] = {"walk_requests", "map_heads"};

int silent(libbpf_print_level, const char *, va_list) {
    return 0; // what goes wrong is said by our own errors
}

std::string complaint(const std::string &what, int error) {
    return what + ": " + strerror(error);
}

bpf_map *map_ending_in(bpf_object *object, const char *suffix) {
    for (bpf_map *map = bpf_object__next_map(object, nullptr); map; map = bpf_object__next_map(object, map))
        if (std::string(bpf_map__name(map)).ends_with(suffix)) return map;
    throw std::runtime_error(std::string("the object has no ") + suffix);
}

std::string last_lines(const char *log) {
    std::string text = log;
    return text.size() > 3000 ? text.substr(text.size() - 3000) : text;
}

} // namespace

uint64_t Native::walks = 0;

Answer Native::walk(const us_table &table, const us_live &live, const us_words &words, const Request &request,
                    size_t room) {
    walks++;
    Answer answer{End::full, {}};
    us_walk walk{};
    us_piece piece{};
    us_walk_begin(&walk, request.root, request.op, request.offset, request.length);
    for (;;) {
        us_walk_result result = us_walk_next(&walk, &table, &live, &words, &piece);
        if (result == US_WALK_END || result == US_WALK_BAD) {
            answer.end = result == US_WALK_END ? End::end : End::bad;
            return answer;
        }
        if (answer.pieces.size() >= room) return answer;
        answer.pieces.push_back(
            {piece.layer, piece.offset, piece.length, piece.buffer, result == US_WALK_REDIRECT});
    }
}

void require_bpf() {
    if (geteuid() != 0) throw Unavailable("only root may load BPF programs");
    if (access("/sys/kernel/btf/vmlinux", R_OK) != 0) throw Unavailable("the kernel has no BTF");
    std::ifstream file("/proc/sys/net/core/bpf_jit_enable");
    int jit = 1; // a kernel that always compiles may not have the switch
    file >> jit;
    if (file && jit == 0) throw Unavailable("BPF's JIT is off");
    bpf_insn insns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
                        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
    bpf_prog_load_opts options{};
    options.sz = sizeof options;
    options.prog_flags = BPF_F_SLEEPABLE;
    int fd = bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "probe", "GPL", insns, std::size(insns), &options);
    if (fd < 0) throw Unavailable(complaint("the kernel loads no program of type syscall", -fd));
    close(fd);
}

bool load_ublk_programs(const std::string &object_file) {
    libbpf_set_print(silent);
    btf *kernel = btf__load_vmlinux_btf();
    if (!kernel) throw std::runtime_error(complaint("the kernel's BTF", errno));
    btf *module = btf__load_module_btf("ublk_drv", kernel); // none: not a module, or not loaded
    bool known = btf__find_by_name_kind(module ? module : kernel, "ublk_bpf_ops", BTF_KIND_STRUCT) > 0;
    btf__free(module);
    btf__free(kernel);
    bpf_object *object = bpf_object__open_file(object_file.c_str(), nullptr);
    if (!object) throw std::runtime_error(complaint(object_file, errno));
    int error = known ? bpf_object__load(object) : 0;
    bpf_object__close(object);
    if (error) throw std::runtime_error(complaint("the programs of ublk-bpf do not load", -error));
    return known;
}

RunCounts::RunCounts() : fd_(bpf_enable_stats(BPF_STATS_RUN_TIME)) {
    if (fd_ < 0) throw std::runtime_error(complaint("runs of programs cannot be counted", -fd_));
}

RunCounts::~RunCounts() {
    close(fd_);
}

Bpf::Bpf(const std::string &object_file, const us_table *frozen, uint32_t types) {
    libbpf_set_print(silent);
    try {
        ask(object_file, frozen, types);
    } catch (...) {
        bpf_object__close(object_);
        throw;
    }
}

void Bpf::ask(const std::string &object_file, const us_table *frozen, uint32_t types) {
    object_ = bpf_object__open_file(object_file.c_str(), nullptr);
    if (!object_) throw std::runtime_error(complaint(object_file, errno));

    size_t bytes = 0;
    void *initial = bpf_map__initial_value(map_ending_in(object_, ".rodata.run"), &bytes);
    if (!initial || bytes != sizeof(us_run_constants)) throw std::runtime_error("other constants than ours");
    auto *constants = static_cast<us_run_constants *>(initial);
    constants->types = types;
    constants->frozen = frozen != nullptr;
    if (frozen) constants->table = *frozen;

    std::string logs[2];
    for (Engine engine : {Engine::walk, Engine::heads}) {
        std::string &log = logs[static_cast<size_t>(engine)];
        log.resize(LOG_BYTES);
        bpf_program *program =
            bpf_object__find_program_by_name(object_, PROGRAMS[static_cast<size_t>(engine)]);
        if (!program) throw std::runtime_error("a program is missing");
        bpf_program__set_log_buf(program, log.data(), log.size());
    }
    if (int error = bpf_object__load(object_)) {
        // Our own, so never a reason to skip: the verifier's refusal is what is to be found.
        throw std::runtime_error(complaint("the programs do not load", -error) + "\n" +
                                 last_lines(logs[0].c_str()) + last_lines(logs[1].c_str()));
    }

    bpf_map *map = map_ending_in(object_, ".bss.run");
    auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    mapped_ = (sizeof(us_run) + page - 1) / page * page;
    void *at = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
    if (at == MAP_FAILED) throw std::runtime_error(complaint("cannot map the requests", errno));
    run_ = static_cast<us_run *>(at);
}

Bpf::~Bpf() {
    munmap(run_, mapped_);
    bpf_object__close(object_);
}

int Bpf::program(Engine engine) const {
    return bpf_program__fd(bpf_object__find_program_by_name(object_, PROGRAMS[static_cast<size_t>(engine)]));
}

void Bpf::run(Engine engine, uint32_t nr_requests) {
    us_run_batch batch{nr_requests, 0};
    bpf_test_run_opts options{};
    options.sz = sizeof options;
    options.ctx_in = &batch;
    options.ctx_size_in = sizeof batch;
    int error = bpf_prog_test_run_opts(program(engine), &options);
    if (error) throw std::runtime_error(complaint("BPF_PROG_TEST_RUN", -error));
    if (options.retval) throw std::runtime_error("the program gave up");
}

Answer Bpf::answer(uint32_t number) const {
    const us_run_request &asked = run_->requests[number];
    Answer answer{static_cast<End>(asked.result), {}};
    if (asked.first_piece + asked.nr_pieces > US_RUN_PIECES) throw std::runtime_error("pieces out of bounds");
    std::span<const us_run_piece> pieces(run_->pieces + asked.first_piece, asked.nr_pieces);
    answer.pieces.reserve(pieces.size());
    for (const us_run_piece &piece : pieces)
        answer.pieces.push_back(
            {piece.layer, piece.offset, piece.length, piece.buffer, piece.redirected != 0});
    return answer;
}

Bpf::Info Bpf::info(Engine engine) const {
    bpf_prog_info info{};
    uint32_t bytes = sizeof info;
    if (bpf_obj_get_info_by_fd(program(engine), &info, &bytes) != 0)
        throw std::runtime_error(complaint("bpf_prog_info", errno));
    return {info.verified_insns, info.jited_prog_len, info.run_cnt};
}

} // namespace us::differential
