// One truth, three engines: the native walker, and the BPF programs of both kernel engines under the real
// verifier and JIT, give the same pieces in the same order as a plain model, for random stacks and requests
// and for the vectors.
//
// Exit status: 0 all agree, 1 a disagreement (its seed and the smallest such case are printed), 2 wrong usage
// or something broke, 77 this host cannot run BPF programs, and why.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include <nlohmann/json.hpp>

#include "check.h"
#include "ublk.h"
#include "vectors.h"

using namespace us::differential;
using nlohmann::json;

namespace {

struct Options {
    std::string object, ublk_object, ublk_driver;
    std::vector<std::string> vectors;
    uint64_t cases = 1'000'000, loads = 100, hostile = 100'000, hostile_loads = 10, seed = 1;
    Plant plant;
};

struct Failed : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Seconds that each took, all cases together.
struct Times {
    double making = 0, model = 0, native = 0, walk = 0, heads = 0;
};

class Stopwatch {
  public:
    explicit Stopwatch(double &into) : into_(into) {}
    ~Stopwatch() {
        into_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }
    Stopwatch(const Stopwatch &) = delete;
    Stopwatch &operator=(const Stopwatch &) = delete;

  private:
    double &into_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

class Differential {
  public:
    explicit Differential(const Options &options)
        : options_(options), random_(options.seed), bulk_(options.object) {}

    void vectors();
    void random_cases();
    void frozen_cases();
    void hostile_tables();
    void ublk_programs();
    json report() const;

  private:
    struct Asked {
        size_t stack;
        Request request;
        Expected expected;
    };
    void one_batch(Bpf &bpf, std::vector<Stack> &stacks, size_t requests);
    void ask(Bpf &bpf, Batch &batch, uint32_t table, const Stack &stack, const us_table &words,
             const us_live &live, std::vector<Asked> &asked);
    void prove(Bpf &bpf, const us_run_counters &before, uint64_t requests) const;
    [[noreturn]] void fail(const Stack &stack, const Request &request, const Disagreement &wrong);

    const Options &options_;
    Random random_;
    Bpf bulk_;
    Times times_;
    uint64_t cases_ = 0, by_sector_ = 0, vectors_ = 0, loads_ = 0, hostile_ = 0, hostile_loads_ = 0,
             hostile_pieces_ = 0, hostile_bad_ = 0;
    uint64_t redirected_ = 0, pieces_ = 0, deepest_ = 0, frozen_cases_ = 0;
    Bpf::Info largest_[2];
    UblkReport ublk_;
    std::string ublk_bpf_ = "not asked for";
};

uint64_t depth(const Stack &stack) {
    std::vector<uint64_t> levels(stack.size(), 1);
    for (size_t i = stack.size(); i-- > 0;)
        for (uint32_t child : stack[i].children)
            levels[i] = std::max(levels[i], levels[child] + 1);
    return levels[0];
}

void Differential::fail(const Stack &stack, const Request &request, const Disagreement &wrong) {
    Stack least = stack;
    Request asked = request;
    auto fails = [&](const Stack &s, const Request &r) {
        return disagreement(bulk_, options_.plant, s, r).has_value();
    };
    std::string text = "DISAGREEMENT (--seed " + std::to_string(options_.seed) + ", after " +
                       std::to_string(cases_) + " cases): " + text_of(wrong);
    if (fails(stack, request)) {
        reduce(least, asked, fails);
        text += "smallest case: " + text_of(asked) + "\n" + text_of(least) +
                text_of(*disagreement(bulk_, options_.plant, least, asked));
    } else {
        text +=
            "not by the program that has its table in a map:\n" + text_of(request) + "\n" + text_of(stack);
    }
    throw Failed(text);
}

// The programs count for themselves, so that an engine that was not asked, or did not run, is found.
void Differential::prove(Bpf &bpf, const us_run_counters &before, uint64_t requests) const {
    const us_run_counters &now = bpf.memory().counters;
    if (now.walks - before.walks != requests || now.heads - before.heads != requests)
        throw Failed("a program did not run once for each request");
    for (Engine engine : {Engine::walk, Engine::heads})
        if (bpf.info(engine).jited_bytes == 0) throw Failed("a program was interpreted");
}

// A request of the stack, cut until its pieces fit.
void Differential::ask(Bpf &bpf, Batch &batch, uint32_t table, const Stack &stack, const us_table &words,
                       const us_live &live, std::vector<Asked> &asked) {
    Request request = random_request(random_, stack);
    Answer native;
    for (;;) {
        Stopwatch watch(times_.native);
        native = Native::walk(words, live, bpf.memory().words, request, ROOM);
        if (native.end != End::full) break;
        if (request.length <= 512) return; // a flush of very many, or mirrors upon mirrors
        request.length = request.length / 1024 * 512;
    }
    options_.plant.apply("native", request, native);
    Expected expected;
    {
        Stopwatch watch(times_.model);
        expected = expect(stack, request, options_.plant);
    }
    if (native != expected.walk) fail(stack, request, {"native", expected.walk, native});
    if (cases_ % 16 == 0 && !has_windows(stack) && request.op != US_OP_FLUSH && request.length <= 512 * 512) {
        by_sector_++;
        if (auto wrong = compare_sectors(stack, request, native)) fail(stack, request, *wrong);
    }
    if (!batch.add(table, request, std::max<size_t>(native.pieces.size(), 1))) return;
    cases_++;
    pieces_ += native.pieces.size();
    redirected_ += std::ranges::any_of(native.pieces, &Piece::redirected);
    asked.push_back({table, request, std::move(expected)});
}

void Differential::one_batch(Bpf &bpf, std::vector<Stack> &stacks, size_t requests) {
    Batch batch(bpf, options_.plant);
    std::vector<Asked> asked;
    uint32_t next_word = 0;
    for (Stack &stack : stacks) {
        place_words(stack, next_word);
        write_words(stack, bpf.memory().words);
        us_table words = table_of(stack);
        us_live live = live_of(stack);
        uint32_t table = batch.add(words, live);
        deepest_ = std::max(deepest_, depth(stack));
        for (size_t i = 0; i < requests / stacks.size(); i++)
            ask(bpf, batch, table, stack, words, live, asked);
    }
    us_run_counters before = bpf.memory().counters;
    for (Engine engine : {Engine::walk, Engine::heads}) {
        {
            Stopwatch watch(engine == Engine::walk ? times_.walk : times_.heads);
            batch.run(engine);
        }
        for (uint32_t i = 0; i < asked.size(); i++) {
            const auto &[stack, request, expected] = asked[i];
            Answer got = batch.answer(engine, i, request);
            const Answer &wanted = engine == Engine::walk ? expected.walk : expected.heads;
            if (got != wanted)
                fail(stacks[stack], request,
                     {engine == Engine::walk ? "walk of the BPF program" : "heads of the BPF program", wanted,
                      got});
        }
        Bpf::Info &largest = largest_[static_cast<size_t>(engine)];
        largest.verified_insns = std::max(largest.verified_insns, bpf.info(engine).verified_insns);
        largest.jited_bytes = std::max(largest.jited_bytes, bpf.info(engine).jited_bytes);
    }
    prove(bpf, before, asked.size());
}

void Differential::random_cases() {
    while (cases_ < options_.cases) {
        std::vector<Stack> stacks(US_RUN_TABLES);
        {
            Stopwatch watch(times_.making);
            for (Stack &stack : stacks) {
                stack = random_stack(random_);
                random_words(random_, stack);
            }
        }
        one_batch(bulk_, stacks, US_RUN_REQUESTS);
    }
}

// As an engine has it: the table frozen, and the program shed of the layers that it has not.
void Differential::frozen_cases() {
    uint64_t before = cases_;
    for (; loads_ < options_.loads; loads_++) {
        Stack stack = random_stack(random_);
        uint32_t first_word = 0;
        place_words(stack, first_word);
        us_table table = table_of(stack);
        Bpf bpf(options_.object, &table, types_of(stack));
        for (int words = 0; words < 4; words++) {
            random_words(random_, stack);
            std::vector<Stack> stacks{stack};
            one_batch(bpf, stacks, 128);
        }
        if (bpf.info(Engine::walk).runs != 4 || bpf.info(Engine::heads).runs != 4)
            throw Failed("the kernel counted other runs than were asked for");
    }
    frozen_cases_ = cases_ - before;
}

void Differential::vectors() {
    std::string name;
    std::unique_ptr<Bpf> frozen;
    for (const std::string &file : options_.vectors)
        for (const Vector &vector : read_vectors(file)) {
            Answer wanted{End::end, vector.pieces};
            Answer model = Model(vector.stack).walk(vector.request);
            if (model != wanted)
                throw Failed(vector.name + ": " + text_of(Disagreement{"model", wanted, model}));
            std::vector<Bpf *> programs{&bulk_};
            if (options_.loads > 0) {
                if (name != vector.name) {
                    us_table table = table_of(vector.stack);
                    frozen = std::make_unique<Bpf>(options_.object, &table, types_of(vector.stack));
                    name = vector.name;
                }
                programs.push_back(frozen.get());
            }
            for (Bpf *bpf : programs)
                if (auto wrong = disagreement(*bpf, options_.plant, vector.stack, vector.request))
                    throw Failed(vector.name + ": " + text_of(*wrong));
            vectors_++;
        }
}

// Tables full of nonsense: every walk ends, the same way in both engines, and nothing but the answer is
// touched.
void Differential::hostile_tables() {
    const Plant none;
    while (hostile_ < options_.hostile) {
        constexpr size_t SMALL = 64;
        std::vector<us_table> tables(US_RUN_TABLES);
        std::vector<Request> requests;
        std::unique_ptr<Bpf> frozen;
        if (hostile_loads_ < options_.hostile_loads) {
            hostile_loads_++;
            tables = {hostile_table(random_)};
            frozen = std::make_unique<Bpf>(options_.object, &tables[0]);
        }
        Bpf &bpf = frozen ? *frozen : bulk_;
        Batch batch(bpf, none);
        for (us_u64 &word : std::span(bpf.memory().words.word).first(1 << 16))
            word = random_.next() >> random_.below(64);
        std::vector<Answer> native;
        for (uint32_t t = 0; t < tables.size(); t++) {
            if (!frozen) tables[t] = hostile_table(random_);
            us_live live = hostile_live(random_);
            batch.add(tables[t], live);
            for (int i = 0; i < 16; i++) {
                Request request = hostile_request(random_);
                if (!batch.add(t, request, SMALL)) break;
                requests.push_back(request);
                native.push_back(Native::walk(tables[t], live, bpf.memory().words, request, SMALL));
                hostile_pieces_ += native.back().pieces.size();
                hostile_bad_ += native.back().end == End::bad;
            }
        }
        auto &memory = bpf.memory();
        us_run_counters before = memory.counters;
        std::vector<us_live> lives(memory.lives, memory.lives + US_RUN_TABLES);
        for (Engine engine : {Engine::walk, Engine::heads}) {
            batch.run(engine);
            for (uint32_t i = 0; i < batch.size(); i++) {
                Answer got = bpf.answer(i);
                if (got.end == End::unasked) throw Failed("a hostile request got no answer");
                if (engine == Engine::walk && got != native[i])
                    throw Failed("hostile table, --seed " + std::to_string(options_.seed) + ": " +
                                 text_of(requests[i]) + "\n" +
                                 text_of(Disagreement{"walk of the BPF program", native[i], got}));
                const us_run_request &kept = memory.requests[i];
                if (kept.offset != requests[i].offset || kept.length != requests[i].length ||
                    kept.root != requests[i].root || kept.room != SMALL || kept.nr_pieces > SMALL)
                    throw Failed("a hostile table led to a request's own words");
            }
        }
        prove(bpf, before, batch.size());
        if (memcmp(tables.data(), memory.tables, tables.size() * sizeof(us_table)) != 0 ||
            memcmp(lives.data(), memory.lives, sizeof memory.lives) != 0)
            throw Failed("a hostile table led to a table or live words");
        hostile_ += batch.size();
    }
}

void Differential::ublk_programs() {
    if (!options_.ublk_object.empty())
        ublk_bpf_ = load_ublk_programs(options_.ublk_object) ? "loaded" : "absent";
    if (!options_.ublk_driver.empty()) try {
            ublk_ = check_ublk(options_.ublk_driver, random_, options_.loads);
        } catch (const std::runtime_error &error) {
            throw Failed("--seed " + std::to_string(options_.seed) + ": " + error.what());
        }
}

json Differential::report() const {
    auto rate = [&](double seconds) { return seconds > 0 ? static_cast<uint64_t>(cases_ / seconds) : 0; };
    const us_run_counters &counted = bulk_.memory().counters;
    json bpf = json::array();
    for (Engine engine : {Engine::walk, Engine::heads}) {
        Bpf::Info info = bulk_.info(engine);
        bpf.push_back({{"verifiedInsns", info.verified_insns},
                       {"jitedBytes", info.jited_bytes},
                       {"runs", info.runs},
                       {"mostVerifiedInsns", largest_[static_cast<size_t>(engine)].verified_insns}});
    }
    return {{"seed", options_.seed},
            {"ublkBpf", ublk_bpf_},
            {"ublk",
             {{"requests", ublk_.requests},
              {"pieces", ublk_.pieces},
              {"toServer", ublk_.to_server},
              {"cut", ublk_.cut},
              {"failed", ublk_.failed},
              {"verifiedInsns", ublk_.verified_insns},
              {"jitedBytes", ublk_.jited_bytes}}},
            {"cases", cases_},
            {"frozenCases", frozen_cases_},
            {"bySector", by_sector_},
            {"redirected", redirected_},
            {"pieces", pieces_},
            {"deepest", deepest_},
            {"vectors", vectors_},
            {"loads", loads_},
            {"hostile", hostile_},
            {"hostileLoads", hostile_loads_},
            {"hostilePieces", hostile_pieces_},
            {"hostileBad", hostile_bad_},
            {"nativeWalks", Native::walks},
            {"modelWalks", Model::walks},
            {"bpfWalks", counted.walks},
            {"bpfHeads", counted.heads},
            {"bpfHeadCalls", counted.head_calls},
            {"perSecond",
             {{"native", rate(times_.native)},
              {"model", rate(times_.model)},
              {"walk", rate(times_.walk)},
              {"heads", rate(times_.heads)}}},
            {"walk", bpf[0]},
            {"heads", bpf[1]}};
}

Options read_options(int argc, char **argv) {
    Options options;
    auto misuse = [] {
        throw std::invalid_argument(
            "usage: differential --object WALK.O [--cases N] [--loads N] [--hostile N] "
            "[--hostile-loads N] [--seed N] [--vectors FILE]… [--ublk-object UBLK.O] [--ublk-driver "
            "DRIVER.O] [--plant ENGINE]");
    };
    for (int i = 1; i < argc; i += 2) {
        std::string name = argv[i];
        if (i + 1 >= argc) misuse();
        std::string value = argv[i + 1];
        if (name == "--object")
            options.object = value;
        else if (name == "--ublk-object")
            options.ublk_object = value;
        else if (name == "--ublk-driver")
            options.ublk_driver = value;
        else if (name == "--vectors")
            options.vectors.push_back(value);
        else if (name == "--plant")
            options.plant.who = value;
        else if (name == "--cases")
            options.cases = std::stoull(value);
        else if (name == "--loads")
            options.loads = std::stoull(value);
        else if (name == "--hostile")
            options.hostile = std::stoull(value);
        else if (name == "--hostile-loads")
            options.hostile_loads = std::stoull(value);
        else if (name == "--seed")
            options.seed = std::stoull(value);
        else
            misuse();
    }
    if (options.object.empty()) misuse();
    return options;
}

} // namespace

int main(int argc, char **argv) {
    try {
        Options options = read_options(argc, argv);
        require_bpf();
        RunCounts counting;
        Differential differential(options);
        differential.ublk_programs();
        differential.vectors();
        differential.hostile_tables();
        differential.random_cases();
        differential.frozen_cases();
        printf("%s\n", differential.report().dump().c_str());
        return 0;
    } catch (const Unavailable &reason) {
        fprintf(stderr, "SKIPPED: %s\n", reason.what());
        return 77;
    } catch (const Failed &failure) {
        fprintf(stderr, "%s\n", failure.what());
        return 1;
    } catch (const std::exception &error) {
        fprintf(stderr, "differential: %s\n", error.what());
        return 2;
    }
}
