// One case through all engines and the model, and what is said when they do not agree.
#pragma once

#include <functional>
#include <optional>

#include "engines.h"
#include "model.h"

namespace us::differential {

// As many pieces as any case here may have; requests are cut to it.
constexpr size_t ROOM = 256;
constexpr size_t PLAN_PIECES = 64; // US_PLAN_PIECES of bpf/map_request.h

struct Disagreement {
    std::string who;
    Answer expected, got;
};

// A wrong answer put in on purpose, to see that it is found: "native", "walk", "heads" or "model".
struct Plant {
    std::string who;
    void apply(const std::string &whose, const Request &request, Answer &answer) const;
};

// All that was expected of one request.
struct Expected {
    Answer walk, heads;
};

Expected expect(const Stack &stack, const Request &request, const Plant &plant);
// Sector by sector, against the plainest of models.
std::optional<Disagreement> compare_sectors(const Stack &stack, const Request &request, const Answer &native);

// Requests for one load of the programs: filled, run once by each, compared.
class Batch {
  public:
    Batch(Bpf &bpf, const Plant &plant) : bpf_(bpf), plant_(plant) {}

    // The next table; its number.
    uint32_t add(const us_table &table, const us_live &live);
    bool add(uint32_t table, const Request &request, size_t room);
    uint32_t size() const { return nr_requests_; }
    void run(Engine engine);
    Answer answer(Engine engine, uint32_t number, const Request &request) const;

  private:
    Bpf &bpf_;
    const Plant &plant_;
    uint32_t nr_tables_ = 0, nr_requests_ = 0;
    size_t room_ = 0;
};

// One case, alone.
std::optional<Disagreement> disagreement(Bpf &bpf, const Plant &plant, const Stack &stack,
                                         const Request &request);

// The smallest case that still fails, by leaving out what can be left out.
void reduce(Stack &stack, Request &request, const std::function<bool(const Stack &, const Request &)> &fails);

std::string text_of(const Disagreement &wrong);

} // namespace us::differential
