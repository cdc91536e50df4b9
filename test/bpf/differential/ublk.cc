#include "ublk.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "ublk_driver.h"

namespace us::differential {

namespace {

constexpr uint32_t NONE = ~0u;
constexpr uint32_t FIRST_FILE = 100, ZEROS = 99;
constexpr int ERROR_IO = -5, ERROR_MEMORY = -12, ERROR_INVALID = -22;
constexpr uint32_t FUA = 1 << 13, DSYNC = 2;
constexpr size_t LOG_BYTES = 1 << 22;
constexpr size_t MOST_PIECES = 256;

bpf_map *map_ending_in(bpf_object *object, const char *suffix) {
    for (bpf_map *map = bpf_object__next_map(object, nullptr); map; map = bpf_object__next_map(object, map))
        if (std::string(bpf_map__name(map)).ends_with(suffix)) return map;
    throw std::runtime_error(std::string("the object has no ") + suffix);
}

// The programs, loaded for one stack.
class Driver {
  public:
    Driver(const std::string &file, const us_ublk_constants &constants) {
        object_ = bpf_object__open_file(file.c_str(), nullptr);
        if (!object_) throw std::runtime_error(file + ": " + strerror(errno));
        try {
            load(constants);
        } catch (...) {
            bpf_object__close(object_);
            throw;
        }
    }
    ~Driver() {
        munmap(words_, mapped_);
        bpf_object__close(object_);
    }
    Driver(const Driver &) = delete;
    Driver &operator=(const Driver &) = delete;

    us_driver &words() { return *words_; }
    void run() {
        bpf_test_run_opts options{};
        options.sz = sizeof options;
        int error = bpf_prog_test_run_opts(bpf_program__fd(program_), &options);
        if (error) throw std::runtime_error(std::string("BPF_PROG_TEST_RUN: ") + strerror(-error));
    }
    bpf_prog_info info() const {
        bpf_prog_info info{};
        uint32_t bytes = sizeof info;
        bpf_obj_get_info_by_fd(bpf_program__fd(program_), &info, &bytes);
        return info;
    }

  private:
    void load(const us_ublk_constants &constants) {
        size_t bytes = 0;
        void *initial = bpf_map__initial_value(map_ending_in(object_, ".rodata.ublk"), &bytes);
        if (!initial || bytes != sizeof constants) throw std::runtime_error("other constants than ours");
        memcpy(initial, &constants, sizeof constants);
        program_ = bpf_object__find_program_by_name(object_, "run_request");
        if (!program_) throw std::runtime_error("no program run_request");
        std::string log(LOG_BYTES, '\0');
        bpf_program__set_log_buf(program_, log.data(), log.size());
        if (int error = bpf_object__load(object_)) {
            std::string said = log.c_str();
            throw std::runtime_error(std::string("ublk-bpf does not load: ") + strerror(-error) + "\n" +
                                     said.substr(said.size() - std::min<size_t>(said.size(), 3000)));
        }
        auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        mapped_ = (sizeof(us_driver) + page - 1) / page * page;
        int fd = bpf_map__fd(map_ending_in(object_, ".bss.driver"));
        void *at = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED) throw std::runtime_error(strerror(errno));
        words_ = static_cast<us_driver *>(at);
    }

    bpf_object *object_ = nullptr;
    bpf_program *program_ = nullptr;
    us_driver *words_ = nullptr;
    size_t mapped_ = 0;
};

us_ublk_constants constants_of(const Stack &stack, bool read_only) {
    us_ublk_constants constants{};
    constants.types = types_of(stack);
    constants.depth = 128;
    constants.read_only = read_only;
    constants.size_bytes = stack[0].size;
    constants.table = table_of(stack);
    for (size_t i = 0; i < stack.size(); i++) {
        bool nowhere = stack[i].type == US_TYPE_NULL;
        constants.leaves[i] = {nowhere, nowhere ? ZEROS : FIRST_FILE + static_cast<uint32_t>(i)};
    }
    return constants;
}

// What one request has to become.
struct Wanted {
    struct Aio {
        uint32_t op, file, flags;
        uint64_t offset;
        uint32_t buffer, bytes;
        bool operator==(const Aio &) const = default;
    };
    std::vector<Aio> aios; // those that are attached to the request
    bool to_server = false;
    uint64_t from = 0;
    int error = 0;
};

struct Asked {
    Request request;
    bool fua = false;
    uint32_t order = 0, fails_at = NONE, refuses_at = NONE, lacks_at = NONE;
};

Wanted wanted_of(const Stack &stack, const Asked &asked, bool read_only) {
    const Request &request = asked.request;
    Wanted wanted;
    wanted.to_server = true;
    bool beyond = request.offset > stack[0].size || request.length > stack[0].size - request.offset;
    if (request.op > US_OP_WRITE || (request.op == US_OP_WRITE && read_only) || beyond) return wanted;

    Answer heads = Model(stack).heads(request, US_DRIVER_AIOS);
    for (const Piece &piece : heads.pieces) {
        wanted.from += piece.length;
        bool nowhere = stack[piece.layer].type == US_TYPE_NULL;
        if (nowhere && request.op == US_OP_WRITE) continue;
        if (wanted.aios.size() == asked.lacks_at) {
            wanted.error = ERROR_MEMORY;
            continue;
        }
        wanted.aios.push_back({static_cast<uint32_t>(request.op), nowhere ? ZEROS : FIRST_FILE + piece.layer,
                               asked.fua ? DSYNC : 0, nowhere ? 0 : piece.offset,
                               static_cast<uint32_t>(piece.buffer), static_cast<uint32_t>(piece.length)});
    }
    if (asked.fails_at < wanted.aios.size()) wanted.error = ERROR_IO;
    if (asked.refuses_at < wanted.aios.size()) wanted.error = ERROR_INVALID;
    // A request of which a part is under way is not handed over: what fails, fails.
    wanted.to_server = heads.end == End::redirect && !wanted.error;
    return wanted;
}

std::string text_of(const Wanted &wanted, const us_driver &got) {
    std::ostringstream out;
    for (const Wanted::Aio &aio : wanted.aios)
        out << "[op " << aio.op << " file " << aio.file << " at " << aio.offset << " +" << aio.bytes
            << " buffer " << aio.buffer << " flags " << aio.flags << "] ";
    out << (wanted.to_server ? "server from " : "done ") << wanted.from << " error " << wanted.error
        << "\n  got      ";
    for (uint32_t i = 0; i < std::min<uint32_t>(got.nr_aios, US_DRIVER_AIOS); i++) {
        const us_driver_aio &aio = got.aios[i];
        out << "[op " << aio.opf << " file " << aio.file << " at " << aio.offset << " +" << aio.buffer_bytes
            << " buffer " << aio.buffer << " flags " << aio.flags << (aio.submitted ? "" : " not submitted")
            << (aio.ended ? "" : " not ended") << (aio.released ? "" : " leaked") << "] ";
    }
    out << (got.to_server ? "server from " : "done ") << (got.to_server ? got.from : got.done) << " result "
        << got.result << ", " << got.calls << " calls, " << got.refused << " refused by the driver";
    return out.str();
}

bool agrees(const Wanted &wanted, const Asked &asked, const us_driver &got) {
    if (got.refused || got.nr_aios != wanted.aios.size() || got.to_server != wanted.to_server) return false;
    for (uint32_t i = 0; i < got.nr_aios; i++) {
        const us_driver_aio &aio = got.aios[i];
        bool refused = i == asked.refuses_at;
        if (!aio.released || aio.attached || aio.submitted == refused || aio.ended == refused) return false;
        if (refused) continue;
        if (Wanted::Aio{aio.opf, aio.file, aio.flags, aio.offset, aio.buffer, aio.bytes} != wanted.aios[i])
            return false;
    }
    if (wanted.error) return got.result == wanted.error && got.done == 0;
    return wanted.to_server ? got.from == wanted.from && got.done == wanted.from
                            : got.done == asked.request.length;
}

Asked random_asked(Random &random, const Stack &stack) {
    Asked asked;
    for (;;) {
        asked.request = random_request(random, stack);
        asked.request.root = 0;
        asked.request.op = static_cast<us_op>(random.one_in(16) ? random.below(6) : random.below(2));
        if (asked.request.op == US_OP_FLUSH)
            asked.request.offset = asked.request.length = 0;
        else if (asked.request.length == 0 || asked.request.length > uint64_t{1} << 30)
            continue;
        if (random.one_in(64)) asked.request.offset = stack[0].size;
        bool inside = asked.request.offset < stack[0].size &&
                      asked.request.length <= stack[0].size - asked.request.offset;
        if (inside && asked.request.length && Model(stack).walk(asked.request).pieces.size() > MOST_PIECES)
            continue;
        break;
    }
    asked.fua = asked.request.op == US_OP_WRITE && random.one_in(4);
    asked.order = static_cast<uint32_t>(random.below(3));
    uint32_t *mishaps[] = {&asked.fails_at, &asked.refuses_at, &asked.lacks_at};
    if (random.one_in(4)) *mishaps[random.below(3)] = static_cast<uint32_t>(random.below(4));
    return asked;
}

// The driver's words for the request, and nothing of the one before.
void fill(us_driver &words, const Asked &asked, Random &random) {
    // Neither as 0: the numbers of a queue and a tag decide which words the program uses.
    words.queue = static_cast<us_u32>(random.below(US_UBLK_MAX_QUEUES));
    words.tag = static_cast<us_u32>(random.below(128));
    words.op_flags = asked.request.op | (asked.fua ? FUA : 0);
    words.start_sector = asked.request.offset / US_SECTOR_BYTES;
    words.nr_sectors = static_cast<us_u32>(asked.request.length / US_SECTOR_BYTES);
    words.order = asked.order;
    words.fails_at = asked.fails_at;
    words.refuses_at = asked.refuses_at;
    words.lacks_at = asked.lacks_at;
    memset(words.aios, 0, sizeof(us_driver_aio) * std::min<size_t>(words.nr_aios, US_DRIVER_AIOS));
    words.nr_aios = words.calls = words.completions = words.refused = words.to_server = words.from =
        words.done = 0;
    words.result = 0;
}

// Few whose first layer sends everything to the server: they say little.
Stack worthwhile_stack(Random &random) {
    for (;;) {
        Stack stack = random_stack(random);
        bool of_server = stack[0].type == US_TYPE_MIRROR || stack[0].type == US_TYPE_INSTRUMENT;
        if (!of_server || random.one_in(8)) return stack;
    }
}

} // namespace

UblkReport check_ublk(const std::string &driver_object, Random &random, uint64_t loads) {
    UblkReport report;
    for (uint64_t load = 0; load < loads; load++) {
        Stack stack = worthwhile_stack(random);
        for (Layer &layer : stack)
            layer.words = words_of_server();
        bool read_only = random.one_in(6);
        Driver driver(driver_object, constants_of(stack, read_only));
        us_driver &words = driver.words();
        constexpr int REQUESTS = 300;
        for (int i = 0; i < REQUESTS; i++) {
            Asked asked = random_asked(random, stack);
            Wanted wanted = wanted_of(stack, asked, read_only);
            fill(words, asked, random);
            driver.run();
            if (!agrees(wanted, asked, words))
                throw std::runtime_error("DISAGREEMENT of engine ublk-bpf: " + text_of(asked.request) +
                                         ", order " + std::to_string(asked.order) + ", fails " +
                                         std::to_string(static_cast<int>(asked.fails_at)) + ", refuses " +
                                         std::to_string(static_cast<int>(asked.refuses_at)) + ", lacks " +
                                         std::to_string(static_cast<int>(asked.lacks_at)) + "\n" +
                                         text_of(stack) + "  expected " + text_of(wanted, words));
            report.requests++;
            report.pieces += words.nr_aios;
            report.to_server += words.to_server;
            report.cut += words.to_server && words.from > 0;
            report.failed += wanted.error != 0;
        }
        bpf_prog_info info = driver.info();
        if (words.runs != REQUESTS || info.run_cnt != REQUESTS || info.jited_prog_len == 0)
            throw std::runtime_error("the program of ublk-bpf did not run once for each request, compiled");
        report.verified_insns = std::max<uint64_t>(report.verified_insns, info.verified_insns);
        report.jited_bytes = std::max<uint64_t>(report.jited_bytes, info.jited_prog_len);
    }
    return report;
}

} // namespace us::differential
