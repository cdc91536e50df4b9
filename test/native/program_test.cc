// The loop program as the server carries and hands it on: linked, with types, and kept for the next server.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "bpf/loop.h"
#include "engine/shelf.h"
#include "frontends/ublk/program_image.h"
#include "frontends/ublk/type_info.h"
#include "frontends/ublk/verified_program.h"

#include "check.h"

using namespace us;
using ublk::ProgramImage;
using ublk::TypeInfo;

namespace {

bool is_call(const bpf_insn &instruction) {
    return instruction.code == (BPF_JMP | BPF_CALL) && instruction.src_reg == BPF_PSEUDO_CALL;
}

template <typename Work> bool throws(Work work) {
    try {
        work();
        return false;
    } catch (const std::runtime_error &) {
        return true;
    }
}

} // namespace

TEST(the_program_is_linked) {
    const ProgramImage &image = ProgramImage::get();
    auto starts = [&](int64_t at) {
        return std::any_of(image.functions.begin(), image.functions.end(),
                           [at](const bpf_func_info &function) { return function.insn_off == at; });
    };
    auto is_kernels = [&](size_t at) {
        return std::any_of(image.kernel_calls.begin(), image.kernel_calls.end(),
                           [at](const ProgramImage::KernelCall &call) { return call.instruction == at; });
    };
    CHECK_EQ(image.functions.front().insn_off, 0u);
    CHECK_EQ(image.lines.front().insn_off, 0u);
    size_t calls = 0;
    for (size_t i = 0; i < image.instructions.size(); i++) {
        if (!is_call(image.instructions[i]) || is_kernels(i)) continue;
        CHECK(starts(static_cast<int64_t>(i) + 1 + image.instructions[i].imm));
        calls++;
    }
    CHECK(calls > 0);
    for (const ProgramImage::MapUse &use : image.map_uses) {
        auto bytes = use.section == ProgramImage::CONSTANTS ? image.constants.size() : image.words_bytes;
        CHECK_EQ(int{image.instructions[use.instruction].src_reg}, BPF_PSEUDO_MAP_VALUE);
        CHECK(static_cast<size_t>(image.instructions[use.instruction + 1].imm) < bytes);
    }
    CHECK(std::any_of(image.kernel_calls.begin(), image.kernel_calls.end(),
                      [](auto &call) { return call.function == "bpf_io_uring_submit_sqes"; }));
    CHECK_EQ(image.license, std::string("Dual MIT/GPL"));
}

TEST(the_program_is_specialised_by_its_constants) {
    us_loop_config config{};
    config.depth = 77;
    us_table table{};
    us_loop_leaf leaves[US_MAX_LAYERS]{};
    std::vector<std::byte> constants = ublk::program_constants(config, leaves, table);
    us_loop_config found;
    const ProgramImage &image = ProgramImage::get();
    memcpy(&found, &constants[image.offset_of(ProgramImage::CONSTANTS, "config", sizeof(found))],
           sizeof(found));
    CHECK_EQ(found.depth, 77u);
}

// What the kernel refuses before a program is loaded: sections of variables and functions that are elsewhere.
TEST(the_programs_types_are_complete) {
    TypeInfo types(ProgramImage::get().types);
    bool named = false;
    types.each([&](uint32_t, const btf_type &type) {
        CHECK(ublk::kind_of(type.info) != BTF_KIND_DATASEC);
        CHECK(ublk::kind_of(type.info) != BTF_KIND_FUNC || ublk::count_of(type.info) != BTF_FUNC_EXTERN);
        named = named || strcmp(types.name(type.name_off), "us_loop_config") == 0;
    });
    CHECK(named);
}

TEST(types_that_are_cut_short_are_refused) {
    std::span<const std::byte> whole = ProgramImage::get().types;
    CHECK(throws([&] { TypeInfo types(whole.first(10)); }));
    CHECK(throws([&] { TypeInfo types(whole.first(whole.size() - 1)); }));
    std::vector<std::byte> strange(whole.begin(), whole.end());
    strange[sizeof(btf_header) + 7] = std::byte{0x7f}; // the kind of the first type
    CHECK(throws([&] { TypeInfo(strange).each([](uint32_t, const btf_type &) {}); }));
}

TEST(a_shelf_outlives_who_puts_something_there) {
    Shelf shelf;
    CHECK(shelf.take_all().empty());
    pid_t child = fork();
    if (child == 0) {
        int ends[2];
        if (pipe(ends) != 0 || write(ends[1], "kept", 4) != 4) _exit(1);
        std::byte note{7};
        shelf.put({&note, 1}, std::span<const int>(ends, 1));
        _exit(0);
    }
    int status = -1;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    std::vector<Shelf::Item> items = shelf.take_all();
    CHECK_EQ(items.size(), 1u);
    CHECK(items[0].note == std::vector<std::byte>{std::byte{7}});
    CHECK_EQ(items[0].descriptors.size(), 1u);
    char text[5]{};
    CHECK_EQ(read(items[0].descriptors[0].number(), text, 4), 4);
    CHECK(strcmp(text, "kept") == 0);
    CHECK(shelf.take_all().empty());
    CHECK(!ublk::VerifiedProgram::from(std::move(items[0])));
}
