#include "life.h"

#include <algorithm>
#include <cinttypes>

#include "contents.h"
#include "engine/graph_impl.h"
#include "engine/queue_impl.h"
#include "trace.h"

namespace {

constexpr uint64_t MOST_STEPS = 200'000;
constexpr uint64_t MOST_STATES = 200; // of one case: it is tried again and again when it fails

const Faults NONE{};

} // namespace

Life::Life(Case &of, World world, uint64_t seed, uint32_t depth)
    : case_(of), seed_(seed), depth_(depth), outer_(Kernel::current),
      outer_executor_(us::Executor::of_this_thread), prng_(seed),
      kernel_(std::move(world), NONE, mix(seed, 1)) {
    kernel_.mutant = of.mutant;
}

Life::~Life() {
    Kernel::current = outer_;
    us::Executor::of_this_thread = outer_executor_;
}

void Life::run() {
    Kernel::current = &kernel_;
    // One crash state in so many steps: many of the first life, and one or two of each that follows.
    crash_odds_ = depth_ == 0 ? 8 + prng_.below(24) : depth_ < DEEPEST ? 150 : 0;
    bool used = depth_ == 0 || (depth_ < DEEPEST && prng_.one_in(6));
    if (used) choose_faults();
    kernel_.on_crash_point = [this] { maybe_crash(); };
    if (open()) {
        if (kernel_.injected == 0) check_all();
        if (used) use();
        kernel_.faults = Faults{};
        kernel_.faults.disks.resize(kernel_.world.disks.size());
        drive("every request to end", [this] { return clients_->idle() && snapshots_->idle(); });
        if (prng_.one_in(2)) take_all_back();
        drive("every member to be copied", [this] { return all_copied(); });
        check_contents();
        check_all();
        end();
    }
    kernel_.on_crash_point = {};
}

void Life::choose_faults() {
    Faults &faults = kernel_.faults;
    if (prng_.one_in(2)) return;
    for (DiskFaults &disk : faults.disks) {
        if (prng_.one_in(3)) disk.slow = 1 + prng_.below(20);
        if (prng_.one_in(3)) disk.shorten = 2 + prng_.below(20);
        if (prng_.one_in(4)) disk.cannot_zero = true;
        if (prng_.one_in(4)) disk.read = 5 + prng_.below(60);
        if (prng_.one_in(4)) disk.write = 5 + prng_.below(60);
        if (prng_.one_in(4)) disk.flush = 1 + prng_.below(10);
    }
    if (prng_.one_in(4)) faults.state = 4 + prng_.below(40);
}

bool Life::open() {
    nlohmann::json &runtime = case_.config["runtime"];
    runtime["bootId"] = kernel_.boot_id();
    const auto &disks = kernel_.world.disks;
    bool missing = std::any_of(disks.begin(), disks.end(), [](const Disk &d) { return d.missing; });
    constexpr uint32_t NR_QUEUES = 2;
    graph_ = std::make_unique<us::Graph>(case_.config);
    try {
        graph_->open(NR_QUEUES, Clients::DEPTH);
    } catch (const us::ConfigError &error) {
        STEP("  refused: %s", error.what());
        if (!missing && kernel_.injected == 0) fail("it cannot be opened again: %s", error.what());
        graph_.reset();
        return false;
    }
    Contents contents(kernel_, *graph_);
    bool all_on_disk = contents.check_images(); // as they were found
    add_queue();
    try {
        if (kernel_.mutant == Mutant::settle_skipped) {
            if (auto &file = graph_->impl().live_file)
                for (uint32_t i = 0; i < file->inflight().size(); i++)
                    file->inflight().clear(i);
        } else {
            kernel_.blocking = true;
            graph_->make_ready(*queues_[0].queue);
            kernel_.blocking = false;
        }
    } catch (const us::ConfigError &error) {
        // The worker ends with it, and its parent starts another one.
        STEP("  not ready: %s", error.what());
        if (!missing && kernel_.injected == 0) fail("it cannot be made ready: %s", error.what());
        queues_.clear();
        graph_.reset();
        return false;
    }
    contents.check_members();
    // Who takes nothing over counts, unless all had ended well.
    bool counted = all_on_disk && kernel_.injected == 0 && !kernel_.world.flawed;
    contents.check_images(!counted);
    while (queues_.size() < NR_QUEUES)
        add_queue();
    std::vector<us::Queue *> queues;
    for (Served &served : queues_)
        queues.push_back(served.queue.get());
    clients_ = std::make_unique<Clients>(kernel_, *graph_, queues, case_.next_write);
    snapshots_ = std::make_unique<SnapshotClients>(kernel_, *graph_, case_.next_tag);
    graph_->start_background(*queues_[0].queue);
    return true;
}

void Life::add_queue() {
    us::QueueOptions options;
    options.index = static_cast<uint32_t>(queues_.size());
    options.depth = Clients::DEPTH;
    Served served;
    served.queue = std::make_unique<us::Queue>(*graph_, options);
    served.ring = kernel_.rings.back();
    queues_.push_back(std::move(served));
}

void Life::use() {
    uint64_t nr = 4 + prng_.below(depth_ == 0 ? MOST_REQUESTS - 4 : 20), requests = mix(seed_, 2);
    for (uint64_t i = 0; i < nr; i++) {
        uint64_t number = depth_ * MOST_REQUESTS + i, wait = mix(requests, 2 * i);
        uint64_t end = kernel_.now_ns + (wait % 16 == 0 ? 4'000'000 : wait % 100'000);
        for (Served *next = nullptr; next_at(next) <= end;)
            step();
        kernel_.now_ns = end;
        if (number < case_.skipped.size() && case_.skipped[number]) continue;
        if (wait % 24 == 1) take_all_back();
        if (wait % 12 == 2) snapshots_->issue(mix(requests, 2 * i));
        clients_->issue(mix(requests, 2 * i + 1));
        maybe_crash();
    }
}

void Life::check_all() {
    clients_->begin_reading_all();
    drive("all to be read", [this] { return !clients_->reading_all(); });
}

void Life::end() {
    for (Served &served : queues_)
        served.queue->stop();
    for (Served &served : queues_)
        drive("a queue to end", [&] { return served.queue->impl().has_ended(); });
    clients_.reset();
    snapshots_.reset();
    queues_.clear();
    kernel_.blocking = true;
    graph_->close();
    kernel_.blocking = false;
    graph_.reset();
    if (crash_odds_ && case_.states < MOST_STATES) crash(prng_.next());
}

// ---------------------------------------------------------------- what happens next

uint64_t Life::turn_of(Served &served) {
    if (kernel_.has_work(*served.ring)) {
        if (served.turn_ns == UINT64_MAX)
            served.turn_ns = kernel_.now_ns + (prng_.one_in(32) ? 500'000 : prng_.below(5'000));
        return served.turn_ns;
    }
    served.turn_ns = UINT64_MAX;
    int64_t pause = served.queue->impl().executor.next_pause_end();
    return pause < 0 ? UINT64_MAX : kernel_.now_ns + static_cast<uint64_t>(pause);
}

uint64_t Life::next_at(Served *&next) {
    uint64_t at = kernel_.next_due();
    next = nullptr; // the kernel
    for (Served &served : queues_)
        if (uint64_t turn = turn_of(served); turn < at) {
            at = turn;
            next = &served;
        }
    return at;
}

void Life::step() {
    if (++steps_ > MOST_STEPS) fail("it goes on and on");
    Served *next = nullptr;
    uint64_t at = next_at(next);
    if (!next) {
        kernel_.take_next();
        return;
    }
    kernel_.now_ns = std::max(kernel_.now_ns, at);
    next->turn_ns = UINT64_MAX;
    on_thread_of(*next->queue);
    next->queue->impl().turn();
    if (kernel_.mutant == Mutant::window_ignored)
        for (us_live_layer &layer : graph_->live().layers)
            layer.window_start = layer.window_end = 0;
    maybe_crash();
}

template <typename Condition> void Life::drive(const char *what, Condition condition) {
    uint64_t limit = steps_ + MOST_STEPS / 4;
    while (!condition()) {
        if (steps_ > limit) fail("waiting for %s has no end", what);
        step();
    }
}

// ---------------------------------------------------------------- what is there

bool Life::all_copied() const {
    const us_table &table = graph_->table();
    for (uint32_t i = 0; i < table.nr_layers; i++) {
        const us_live_layer &live = graph_->live().layers[i];
        if (table.layers[i].type == US_TYPE_MIRROR && live.readable != live.writable) return false;
    }
    return true;
}

void Life::take_all_back() {
    const us_table &table = graph_->table();
    for (uint32_t i = 0; i < table.nr_layers; i++) {
        if (table.layers[i].type != US_TYPE_MIRROR) continue;
        for (uint32_t c = 0; c < table.layers[i].nr_children; c++) {
            if (graph_->live().layers[i].writable >> c & 1) continue;
            const std::string &member = graph_->name(table.links[table.layers[i].first_link + c].layer);
            STEP("taking \"%s\" back", member.c_str());
            std::string refusal = graph_->readd(graph_->name(i), member);
            if (!refusal.empty()) STEP("  refused: %s", refusal.c_str());
        }
    }
}

void Life::check_contents() {
    Contents contents(kernel_, *graph_);
    contents.check_members();
    contents.check_images();
}

// ---------------------------------------------------------------- crash states

void Life::maybe_crash() {
    uint64_t point = mix(mix(seed_, 3), crash_points_++);
    if (crash_odds_ && point % crash_odds_ == 0 && case_.states < MOST_STATES) crash(mix(point, 4));
}

void Life::crash(uint64_t seed) {
    Prng prng(seed);
    bool kill = prng.one_in(2);
    case_.states++;
    size_t mark = trace().mark();
    STEP("%s %u.%" PRIu64, kill ? "the server is KILLED" : "the POWER IS CUT", depth_, crash_points_);

    Life next(case_, kernel_.world, mix(seed, 5), depth_ + 1);
    Kernel &kernel = next.kernel_;
    World &world = kernel.world;
    kernel.now_ns = kernel_.now_ns;
    world.flawed |= kernel_.injected != 0;
    kernel.inherit(kernel_);
    if (kill) {
        world.ledger.server_killed();
        if (prng.one_in(2)) kernel.finish_inherited();
    } else {
        kernel.finish_inherited();
        world.ledger.power_cut();
        for (Disk &disk : world.disks)
            disk.cut_power(prng);
        world.state.cut_power(prng);
        world.run.forget_all();
        world.boots++;
    }
    for (Disk &disk : world.disks)
        disk.missing = false;
    if (world.disks.size() > 1 && prng.one_in(12)) {
        Disk &disk = world.disks[prng.below(world.disks.size())];
        disk.missing = true;
        STEP("  %s is missing", disk.name.c_str());
    }
    next.run();
    trace().back_to(mark);
}

// ---------------------------------------------------------------- cases

Case::Case(const Stack &stack, uint64_t seed, Mutant mutant)
    : stack(stack), seed(seed), mutant(mutant), config(stack.config) {}

// What the device shows through an image that has nothing yet: zeros behind the backing's end.
void Case::fill(Disk &disk, std::vector<Content> &initial) {
    for (uint64_t sector = 0; sector < disk.room() / SECTOR; sector++) {
        uint64_t words[SECTOR / sizeof(uint64_t)];
        std::fill(std::begin(words), std::end(words), next_write++ << 16 | sector);
        disk.write(sector * SECTOR, SECTOR, reinterpret_cast<std::byte *>(words), 0);
        if (sector < initial.size()) initial[sector] = disk.cache[sector];
    }
    disk.flush(1);
}

void Case::run() {
    Sectors::instance().forget_all();
    Prng prng(seed);
    std::vector<Content> initial(stack.bytes / SECTOR);
    std::vector<Disk> disks;
    for (const StackDisk &disk : stack.disks) {
        disks.emplace_back(disk.name, disk.bytes, disk.grows);
        if (disk.backing) fill(disks.back(), initial);
    }
    World world(initial);
    world.disks = std::move(disks);
    world.narrow = stack.narrow;
    world.keeps_discarded = stack.keeps_discarded;
    world.direct = prng.one_in(2);
    config["table"]["frontend"] = world.direct ? "ublk" : "nbd";
    config["runtime"]["blank"] = nlohmann::json::array();
    if (prng.one_in(2))
        for (const StackDisk &disk : stack.disks)
            config["runtime"]["blank"].push_back(disk.name);
    STEP("%s, %s IO", stack.name.c_str(), world.direct ? "direct" : "buffered");
    Life(*this, std::move(world), prng.next(), 0).run();
}
