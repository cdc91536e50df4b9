#include "frontends/ublk/verified_program.h"

#include <cerrno>
#include <cstring>
#include <span>
#include <system_error>

#include "frontends/ublk/bpf_calls.h"
#include "frontends/ublk/program_image.h"

namespace us::ublk {

namespace {

constexpr size_t LOG_BYTES = 1 << 20;
// The verifier gives up when a signal comes.
constexpr int ATTEMPTS = 5;
constexpr int ENOTSUPP = 524; // include/linux/errno.h: meant for the kernel alone, but bpf(2) answers it

// In plain words what an errno means.
std::string refusal(const std::system_error &error) {
    switch (error.code().value()) {
    case EPERM:
        return "no right to load programs (needs CAP_BPF and CAP_PERFMON; seccomp or lockdown may forbid it)";
    case ENOTSUPP:
        return "the kernel's compiler for BPF is off (net.core.bpf_jit_enable) or cannot call its functions";
    default:
        return error.what();
    }
}

std::string verdict(const std::system_error &error) {
    int number = error.code().value();
    bool rejected = number == EACCES || number == EINVAL || number == E2BIG;
    return rejected ? "the kernel's verifier does not take the program" : refusal(error);
}

const KernelInterface &interface_of_kernel() {
    try {
        return KernelInterface::get();
    } catch (const std::runtime_error &lacks) {
        throw ProgramRefused(lacks.what(), {});
    }
}

std::vector<bpf_insn> linked(const KernelInterface &kernel, const Descriptor &constants,
                             const Descriptor &words) {
    const ProgramImage &image = ProgramImage::get();
    std::vector<bpf_insn> instructions = image.instructions;
    for (const ProgramImage::MapUse &use : image.map_uses)
        instructions[use.instruction].imm =
            (use.section == ProgramImage::CONSTANTS ? constants : words).number();
    for (const ProgramImage::KernelCall &call : image.kernel_calls) {
        instructions[call.instruction].src_reg = BPF_PSEUDO_KFUNC_CALL;
        instructions[call.instruction].imm = static_cast<int32_t>(kernel.functions.at(call.function));
    }
    return instructions;
}

Descriptor verify(const KernelInterface &kernel, const Descriptor &types,
                  std::span<const bpf_insn> instructions) {
    const ProgramImage &image = ProgramImage::get();
    for (int attempt = 1;; attempt++) {
        try {
            return bpf::load_step(image, instructions, kernel, types, {});
        } catch (const std::system_error &error) {
            if (error.code().value() == EAGAIN && attempt < ATTEMPTS) continue;
        }
        // Once more, for what the verifier has to say: saying it costs time.
        std::vector<char> log(LOG_BYTES);
        try {
            return bpf::load_step(image, instructions, kernel, types, log);
        } catch (const std::system_error &error) {
            throw ProgramRefused(verdict(error), log.data());
        }
    }
}

// What a shelf's note says.
struct Note {
    uint32_t magic, queue;
    OpsLayout layout;
};
constexpr uint32_t MAGIC = 0x6c6f6f70;

} // namespace

std::vector<std::byte> program_constants(const us_loop_config &config, const us_loop_leaf *leaves,
                                         const us_table &table) {
    const ProgramImage &image = ProgramImage::get();
    std::vector<std::byte> constants = image.constants;
    auto set = [&](const char *variable, const void *value, size_t bytes) {
        memcpy(&constants[image.offset_of(ProgramImage::CONSTANTS, variable, bytes)], value, bytes);
    };
    set("config", &config, sizeof(config));
    set("leaves", leaves, sizeof(us_loop_leaf) * US_MAX_LAYERS);
    set("table", &table, sizeof(table));
    return constants;
}

std::string missing_in_kernel() {
    try {
        KernelInterface::get();
        return {};
    } catch (const std::runtime_error &lacks) {
        return lacks.what();
    }
}

VerifiedProgram VerifiedProgram::load(const std::vector<std::byte> &constants) {
    const KernelInterface &kernel = interface_of_kernel();
    const ProgramImage &image = ProgramImage::get();
    VerifiedProgram made;
    try {
        made.layout_ = kernel.layout;
        made.types_ = bpf::load_types(image.types);
        made.constants_ = bpf::create_constants(constants);
        made.words_ = bpf::create_words(image.words_bytes);
        made.program_ = verify(kernel, made.types_, linked(kernel, made.constants_, made.words_));
    } catch (const std::system_error &error) {
        throw ProgramRefused(refusal(error), {});
    }
    return made;
}

bool VerifiedProgram::has(const std::vector<std::byte> &constants) const {
    return bpf::read_constants(constants_, constants.size()) == constants;
}

void VerifiedProgram::put(Shelf &shelf, uint32_t queue) const {
    Note note{MAGIC, queue, layout_};
    int all[] = {types_.number(), constants_.number(), words_.number(), program_.number()};
    shelf.put(std::as_bytes(std::span(&note, 1)), all);
}

std::optional<VerifiedProgram::Kept> VerifiedProgram::from(Shelf::Item item) {
    Note note{};
    if (item.note.size() != sizeof(note) || item.descriptors.size() != 4) return std::nullopt;
    memcpy(&note, item.note.data(), sizeof(note));
    if (note.magic != MAGIC) return std::nullopt;
    Kept kept{note.queue, {}};
    kept.program.layout_ = note.layout;
    kept.program.types_ = std::move(item.descriptors[0]);
    kept.program.constants_ = std::move(item.descriptors[1]);
    kept.program.words_ = std::move(item.descriptors[2]);
    kept.program.program_ = std::move(item.descriptors[3]);
    return kept;
}

} // namespace us::ublk
