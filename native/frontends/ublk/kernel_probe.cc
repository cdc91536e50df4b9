#include "frontends/ublk/kernel_probe.h"

#include <sys/mman.h>

#include <cerrno>
#include <initializer_list>
#include <memory>
#include <system_error>
#include <vector>

#include "frontends/ublk/kernel_program.h"
#include "frontends/ublk/kernel_ring.h"
#include "frontends/ublk/uapi.h"

namespace us::ublk {

namespace {

constexpr uint32_t DEPTH = 128, SQ_ENTRIES = 256, CQ_ENTRIES = 8192;
constexpr uint64_t LEAF_BYTES = 1 << 20;
constexpr size_t LOG_BYTES = 64 << 10;
// Live words, then the slots of one queue: whole pages.
constexpr uint32_t SLOTS_OFFSET = 8192, REGION_BYTES = SLOTS_OFFSET + DEPTH * 64;
static_assert(sizeof(us_live) <= SLOTS_OFFSET);

// mirror of (stripe of file and block) and (linear of null).
us_table table_of_every_type() {
    us_table table{};
    auto layer = [&table](us_type type, uint64_t size, std::initializer_list<uint32_t> children) {
        us_layer &added = table.layers[table.nr_layers++];
        added.size = size;
        added.type = type;
        added.first_link = static_cast<us_u16>(table.nr_links);
        added.nr_children = static_cast<us_u16>(children.size());
        for (uint32_t child : children)
            table.links[table.nr_links++].layer = child;
    };
    layer(US_TYPE_MIRROR, 2 * LEAF_BYTES, {1, 2});
    layer(US_TYPE_STRIPE, 2 * LEAF_BYTES, {3, 4});
    layer(US_TYPE_LINEAR, 2 * LEAF_BYTES, {5});
    layer(US_TYPE_FILE, LEAF_BYTES, {});
    layer(US_TYPE_BLOCK, LEAF_BYTES, {});
    layer(US_TYPE_NULL, 2 * LEAF_BYTES, {});
    table.layers[1].param[0] = 16; // chunks of 64 KiB
    return table;
}

us_loop_config config_of(const KernelRing &ring, const us_table &table) {
    us_loop_config config{};
    ring.describe(config);
    config.depth = DEPTH;
    config.max_pieces = US_LOOP_MAX_PIECES;
    config.commit_op = IO_COMMIT_AND_FETCH_REQ;
    config.size_bytes = table.layers[0].size;
    config.tracked = 1;
    config.region_bytes = REGION_BYTES;
    config.slots_offset = SLOTS_OFFSET;
    config.spin_ns = 1;
    config.spin_adapts = 1;
    for (uint32_t i = 0; i < table.nr_layers; i++)
        config.types |= 1u << table.layers[i].type;
    return config;
}

std::vector<us_loop_leaf> leaves_of(const us_table &table) {
    std::vector<us_loop_leaf> leaves(US_MAX_LAYERS);
    for (uint32_t i = 0; i < table.nr_layers; i++) {
        if (table.layers[i].nr_children > 0) continue;
        bool stores = table.layers[i].type != US_TYPE_NULL;
        leaves[i] = {.access = stores ? US_LOOP_FILE : US_LOOP_NOWHERE,
                     .file = 0,
                     .async_bytes = 0,
                     .flush = stores ? 1u : 0u};
    }
    return leaves;
}

void load_and_attach() {
    void *memory = mmap(nullptr, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "no memory to share");
    auto unmap = [](void *region) { munmap(region, REGION_BYTES); };
    std::unique_ptr<void, decltype(unmap)> region(memory, unmap);

    KernelRing ring(SQ_ENTRIES, CQ_ENTRIES);
    ring.register_buffers(DEPTH);
    ring.register_region(memory, REGION_BYTES);
    us_table table = table_of_every_type();
    std::vector<std::byte> constants =
        program_constants(config_of(ring, table), leaves_of(table).data(), table);
    KernelProgram program(ring.fd(), VerifiedProgram::load(constants));
}

// Its end says what the verifier did not like.
std::string last_words(const std::string &log) {
    return log.size() <= LOG_BYTES ? log : log.substr(log.size() - LOG_BYTES);
}

} // namespace

KernelProbe probe_kernel() {
    // Such kernels refuse the ring or its memory already, in words that help nobody.
    if (std::string missing = missing_in_kernel(); !missing.empty()) return {false, missing, {}};
    try {
        load_and_attach();
        return {true, "the kernel takes the program of every layer type", {}};
    } catch (const ProgramRefused &refused) {
        return {false, refused.what(), last_words(refused.log)};
    } catch (const std::system_error &error) {
        return {false, error.what(), {}};
    }
}

} // namespace us::ublk
