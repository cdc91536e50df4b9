#include "frontends/ublk/program_image.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "bpf/loop_object.h"
#include "frontends/ublk/type_info.h"

namespace us::ublk {

namespace {

constexpr std::string_view STEP = "struct_ops.s/loop_step", CODE = ".text";
// Of clang's BPF target (llvm/BinaryFormat/ELFRelocs/BPF.def).
constexpr uint32_t RELOCATED_WORDS = 1, RELOCATED_CALL = 10;
constexpr uint8_t LOAD_WIDE = BPF_LD | BPF_IMM | BPF_DW, CALL = BPF_JMP | BPF_CALL;

[[noreturn]] void unreadable(const std::string &what) {
    throw std::logic_error("the loop program's object: " + what);
}

// An ELF file, as far as clang writes it for BPF.
class Object {
  public:
    explicit Object(std::span<const std::byte> bytes) : bytes_(bytes) {
        const Elf64_Ehdr &header = table<Elf64_Ehdr>(0, sizeof(Elf64_Ehdr))[0];
        sections_ = table<Elf64_Shdr>(header.e_shoff, header.e_shnum * sizeof(Elf64_Shdr));
        section_names_ = &section(header.e_shstrndx);
        for (const Elf64_Shdr &section : sections_) {
            if (section.sh_type != SHT_SYMTAB) continue;
            symbols_ = contents<Elf64_Sym>(section);
            symbol_names_ = &this->section(section.sh_link);
        }
    }

    template <typename T> std::span<const T> contents(const Elf64_Shdr &section) const {
        return table<T>(section.sh_offset, section.sh_size);
    }
    const Elf64_Shdr &section(size_t index) const {
        if (index >= sections_.size()) unreadable("no such section");
        return sections_[index];
    }
    uint16_t index_of(std::string_view name) const {
        for (size_t i = 0; i < sections_.size(); i++)
            if (text(*section_names_, sections_[i].sh_name) == name) return static_cast<uint16_t>(i);
        unreadable("no section " + std::string(name));
    }
    const Elf64_Shdr &section(std::string_view name) const { return sections_[index_of(name)]; }

    std::span<const Elf64_Sym> symbols() const { return symbols_; }
    std::string name(const Elf64_Sym &symbol) const {
        return std::string(text(*symbol_names_, symbol.st_name));
    }
    // The symbol that an instruction is about, or null.
    const Elf64_Sym *relocation(uint16_t of, uint64_t offset, uint32_t type) const {
        for (const Elf64_Shdr &section : sections_) {
            if (section.sh_type != SHT_REL || section.sh_info != of) continue;
            for (const Elf64_Rel &entry : contents<Elf64_Rel>(section)) {
                if (entry.r_offset != offset) continue;
                size_t symbol = ELF64_R_SYM(entry.r_info);
                if (ELF64_R_TYPE(entry.r_info) != type || symbol >= symbols_.size())
                    unreadable("a relocation of an unknown kind");
                return &symbols_[symbol];
            }
        }
        return nullptr;
    }

  private:
    template <typename T> std::span<const T> table(uint64_t offset, uint64_t bytes) const {
        if (offset > bytes_.size() || bytes > bytes_.size() - offset || bytes < sizeof(T))
            unreadable("cut short");
        return {reinterpret_cast<const T *>(&bytes_[offset]), bytes / sizeof(T)};
    }
    std::string_view text(const Elf64_Shdr &strings, uint32_t offset) const {
        std::span<const char> all = contents<char>(strings);
        if (offset >= all.size() || all.back() != '\0') unreadable("a name outside of its table");
        return &all[offset];
    }

    std::span<const std::byte> bytes_;
    std::span<const Elf64_Shdr> sections_;
    std::span<const Elf64_Sym> symbols_;
    const Elf64_Shdr *section_names_ = nullptr, *symbol_names_ = nullptr;
};

// Puts functions behind each other, each once, as they are called.
class Linker {
  public:
    Linker(const Object &object, ProgramImage &image)
        : object_(object), image_(image), constants_(object.index_of(".rodata")),
          words_(object.index_of(".bss")) {}

    struct Placed {
        uint16_t section;
        uint64_t offset, bytes; // in that section
        size_t at;              // its first instruction
    };

    const std::vector<Placed> &link() {
        place(object_.index_of(STEP), 0);
        for (size_t i = 0; i < placed_.size(); i++)
            resolve(Placed(placed_[i]));
        return placed_;
    }

  private:
    size_t place(uint16_t section, uint64_t offset) {
        for (const Placed &placed : placed_)
            if (placed.section == section && placed.offset == offset) return placed.at;
        for (const Elf64_Sym &symbol : object_.symbols()) {
            if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx != section ||
                symbol.st_value != offset)
                continue;
            auto code = object_.contents<bpf_insn>(object_.section(section));
            size_t first = offset / sizeof(bpf_insn), count = symbol.st_size / sizeof(bpf_insn);
            if (first > code.size() || count > code.size() - first)
                unreadable("a function outside of its section");
            placed_.push_back({section, offset, symbol.st_size, image_.instructions.size()});
            auto begin = code.begin() + static_cast<ptrdiff_t>(first);
            image_.instructions.insert(image_.instructions.end(), begin,
                                       begin + static_cast<ptrdiff_t>(count));
            return placed_.back().at;
        }
        unreadable("a call of what is no function");
    }

    void resolve(const Placed &function) {
        size_t count = function.bytes / sizeof(bpf_insn);
        for (size_t i = 0; i < count; i++) {
            size_t at = function.at + i;
            uint64_t offset = function.offset + i * sizeof(bpf_insn);
            const bpf_insn &instruction = image_.instructions[at];
            if (instruction.code == CALL && instruction.src_reg == BPF_PSEUDO_CALL) {
                resolve_call(function.section, offset, at);
            } else if (instruction.code == LOAD_WIDE) {
                if (auto *symbol = object_.relocation(function.section, offset, RELOCATED_WORDS))
                    resolve_words(*symbol, at);
                i++;
            }
        }
    }

    void resolve_call(uint16_t section, uint64_t offset, size_t at) {
        int64_t target = static_cast<int64_t>(offset / sizeof(bpf_insn)) + 1;
        if (auto *symbol = object_.relocation(section, offset, RELOCATED_CALL)) {
            if (symbol->st_shndx == SHN_UNDEF) {
                image_.kernel_calls.push_back({at, object_.name(*symbol)});
                return;
            }
            section = symbol->st_shndx;
            target = static_cast<int64_t>(symbol->st_value / sizeof(bpf_insn)) + 1;
        }
        target += image_.instructions[at].imm;
        size_t callee = place(section, static_cast<uint64_t>(target) * sizeof(bpf_insn));
        image_.instructions[at].imm =
            static_cast<int32_t>(static_cast<int64_t>(callee) - static_cast<int64_t>(at) - 1);
    }

    void resolve_words(const Elf64_Sym &symbol, size_t at) {
        if (symbol.st_shndx != constants_ && symbol.st_shndx != words_)
            unreadable("words that are neither constants nor the program's own");
        bpf_insn *pair = &image_.instructions[at];
        pair[0].src_reg = BPF_PSEUDO_MAP_VALUE;
        pair[1].imm = pair[0].imm + static_cast<int32_t>(symbol.st_value);
        image_.map_uses.push_back(
            {at, symbol.st_shndx == constants_ ? ProgramImage::CONSTANTS : ProgramImage::WORDS});
    }

    const Object &object_;
    ProgramImage &image_;
    uint16_t constants_, words_;
    std::vector<Placed> placed_;
};

// Header of .BTF.ext: functions and lines, by section.
struct ext_header {
    uint16_t magic;
    uint8_t version, flags;
    uint32_t hdr_len, func_info_off, func_info_len, line_info_off, line_info_len;
};

// Records of the placed functions, with offsets of the linked program.
template <typename Record>
std::vector<Record> gather(const Object &object, const std::vector<Linker::Placed> &placed, uint32_t offset,
                           uint32_t bytes) {
    std::span<const std::byte> all = object.contents<std::byte>(object.section(".BTF.ext"));
    TypeInfo types(object.contents<std::byte>(object.section(".BTF")));
    auto word = [&all](size_t at) {
        uint32_t value;
        if (at > all.size() || sizeof(value) > all.size() - at) unreadable(".BTF.ext is cut short");
        memcpy(&value, &all[at], sizeof(value));
        return value;
    };
    size_t at = word(offsetof(ext_header, hdr_len)) + offset, end = at + bytes;
    if (word(at) != sizeof(Record)) unreadable("records of .BTF.ext of an unknown size");
    std::vector<std::vector<Record>> found(placed.size());
    for (at += sizeof(uint32_t); at < end;) {
        uint16_t section = object.index_of(types.name(word(at)));
        uint32_t count = word(at + sizeof(uint32_t));
        at += 2 * sizeof(uint32_t);
        for (; count > 0; count--, at += sizeof(Record)) {
            word(at + sizeof(Record) - sizeof(uint32_t));
            Record record;
            memcpy(&record, &all[at], sizeof(record));
            for (size_t i = 0; i < placed.size(); i++) {
                const Linker::Placed &function = placed[i];
                if (function.section != section || record.insn_off < function.offset ||
                    record.insn_off >= function.offset + function.bytes)
                    continue;
                record.insn_off = static_cast<uint32_t>(function.at + (record.insn_off - function.offset) /
                                                                          sizeof(bpf_insn));
                found[i].push_back(record);
                break;
            }
        }
    }
    std::vector<Record> gathered;
    for (const std::vector<Record> &one : found)
        gathered.insert(gathered.end(), one.begin(), one.end());
    return gathered;
}

// What a linker would still fill in, and the kernel does not take before, is made void, with every type
// keeping its number: sections of variables become structs of nothing but numbers, functions of the kernel
// mere names.
std::vector<std::byte> loadable(std::span<const std::byte> raw) {
    std::vector<std::byte> bytes(raw.begin(), raw.end());
    TypeInfo types(raw);
    uint32_t number = 0;
    types.each([&number](uint32_t id, const btf_type &type) {
        if (number == 0 && kind_of(type.info) == BTF_KIND_INT && type.size == sizeof(uint32_t)) number = id;
    });
    size_t shift = types.types_offset();
    const auto *first = raw.data() + shift;
    types.each([&](uint32_t, const btf_type &type) {
        auto at = shift + static_cast<size_t>(reinterpret_cast<const std::byte *>(&type) - first);
        btf_type changed = type;
        uint32_t kind = kind_of(type.info), count = count_of(type.info);
        if (kind == BTF_KIND_FUNC && count == BTF_FUNC_EXTERN) {
            changed.info = BTF_KIND_FWD << 24;
            changed.type = 0;
        } else if (kind == BTF_KIND_DATASEC) {
            changed = {.name_off = 0, .info = BTF_KIND_STRUCT << 24 | count, .size = count * 4};
            for (uint32_t i = 0; i < count; i++) {
                btf_member member{.name_off = 0, .type = number, .offset = i * 32};
                memcpy(&bytes[at + sizeof(type) + i * sizeof(member)], &member, sizeof(member));
            }
        }
        memcpy(&bytes[at], &changed, sizeof(changed));
    });
    return bytes;
}

} // namespace

ProgramImage::ProgramImage(std::span<const std::byte> bytes) {
    Object object(bytes);
    std::vector<Linker::Placed> placed = Linker(object, *this).link();
    std::span<const std::byte> ext = object.contents<std::byte>(object.section(".BTF.ext"));
    ext_header header;
    if (ext.size() < sizeof(header)) unreadable(".BTF.ext is cut short");
    memcpy(&header, ext.data(), sizeof(header));
    functions = gather<bpf_func_info>(object, placed, header.func_info_off, header.func_info_len);
    lines = gather<bpf_line_info>(object, placed, header.line_info_off, header.line_info_len);
    if (functions.size() != placed.size()) unreadable("functions without a type");
    types = loadable(object.contents<std::byte>(object.section(".BTF")));

    uint16_t constants_section = object.index_of(".rodata"), words_section = object.index_of(".bss");
    auto initial = object.contents<std::byte>(object.section(constants_section));
    constants.assign(initial.begin(), initial.end());
    words_bytes = object.section(words_section).sh_size;
    for (const Elf64_Sym &symbol : object.symbols()) {
        if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT) continue;
        if (symbol.st_shndx == constants_section || symbol.st_shndx == words_section)
            variables.push_back({object.name(symbol), symbol.st_shndx == words_section ? WORDS : CONSTANTS,
                                 symbol.st_value, symbol.st_size});
    }
    license = object.contents<char>(object.section("license")).data();
}

const ProgramImage &ProgramImage::get() {
    static const ProgramImage image(std::as_bytes(std::span(loop_object)));
    return image;
}

size_t ProgramImage::offset_of(Section section, const std::string &name, size_t bytes) const {
    auto found = std::find_if(variables.begin(), variables.end(), [&](const Variable &variable) {
        return variable.section == section && variable.name == name && variable.bytes == bytes;
    });
    if (found == variables.end()) unreadable("no " + name);
    return found->offset;
}

} // namespace us::ublk
