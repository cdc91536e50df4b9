// Clients of the device: random requests, and each answer held against the ledger.
#pragma once

#include <memory>
#include <vector>

#include "engine/graph.h"
#include "engine/queue.h"
#include "kernel.h"

// There is one thread, and each queue thinks it is its own.
void on_thread_of(us::Queue &queue);

class Clients {
  public:
    // next_write: numbers whatever is written in this case, so that no two sectors are alike.
    Clients(Kernel &kernel, us::Graph &graph, std::vector<us::Queue *> queues, uint64_t &next_write);

    static constexpr uint32_t DEPTH = 4; // of each queue

    // One more request, all of it following from the seed; none when there is no place for it.
    void issue(uint64_t seed);
    // All of the device, in pieces.
    void begin_reading_all();
    bool reading_all();
    bool idle() const { return busy_ == 0; }

  private:
    static constexpr uint64_t MOST = 20 * SECTOR;

    struct Call : us::Request {
        Clients *clients = nullptr;
        uint32_t queue = 0;
        bool used = false;
        uint64_t began = 0; // ledger time
        std::vector<Content> written;
        alignas(4096) std::byte data[MOST];
    };

    Call *free_call(uint32_t first_queue);
    bool fill(Call &call, Prng &prng);
    bool fill_change(Call &call, Prng &prng);
    void start(Call &call);
    void ended(Call &call);
    void write_ended(Call &call);
    void read_ended(Call &call);
    uint64_t oldest_read() const;
    void continue_reading();

    Kernel &kernel_;
    us::Graph &graph_;
    std::vector<us::Queue *> queues_;
    uint64_t &next_write_;
    std::vector<std::unique_ptr<Call>> calls_;
    uint32_t busy_ = 0;
    uint64_t to_read_ = 0; // sectors of reading all that have not been begun
};
