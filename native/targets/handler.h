// The full handler of a layer: what takes over where the mapping step says REDIRECT or a piece has failed.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "targets/executor.h"

namespace us {

class Leaf;

// What outlives the server of a resync: the bytes before `position` are copied to all of `members`.
struct ResyncWords {
    uint64_t position;
    uint32_t members;    // bit c: child c
    uint32_t unrecorded; // bit c: child c has failed, and the durable state could not be told
    uint64_t unsettled;  // not 0: what a killed server had in flight could not be made equal
};

// What is known of a dead predecessor of the same boot.
enum class Predecessor {
    unknown, // nothing: its live file is gone or makes no sense with this table
    idle,    // nothing was in flight when it ended
    same     // the slots of the live file tell what was in flight
};

struct MemberNow {
    std::string name;
    std::optional<std::string> identity; // of all media below; nothing when they could not be opened
    std::string trouble;                 // why not
    bool blank_when_new = false;         // if it was not known before, then it is all zeros
    bool single_leaf = false;            // it is a leaf itself
    std::vector<Leaf *> leaves;
    uint64_t size = 0;  // bytes
    uint32_t block = 0; // bytes: its logical block
    // How the header of an image names it, and its format: a path, or what no tool opens by mistake.
    std::string image_name, image_format;
};

// In-flight slots of a handler's background work.
constexpr uint32_t BACKGROUND_SLOTS = 4;
// Of what a format above mirrors has in flight on its base: more have to wait.
constexpr uint32_t CHILD_SLOTS = 64;

struct HandlerContext {
    us_live_layer *live = nullptr;
    us_words *words = nullptr; // of formats
    us_layer layer{};          // as the mapping core has it
    ResyncWords *resync = nullptr;
    Inflight *inflight = nullptr;
    uint32_t own_slots = 0;                       // the first of BACKGROUND_SLOTS
    uint32_t child_slots = 0, nr_child_slots = 0; // of a format above mirrors
    Predecessor predecessor = Predecessor::unknown;
    std::vector<MemberNow> members;
    int state_dir = -1;  // descriptor of the folder for durable state; paths may be out of reach later
    std::string run_dir; // in load() alone: for files that outlive the server, and not a reboot
    std::string boot_id;
    uint64_t clean_after_ns = 0;
    std::function<void(bool bad, const std::string &)> notice; // one line for the log
    std::function<int(std::function<int()>)> run_offloaded;    // on the helper thread, waiting for the result
    std::function<void(std::function<void(Executor &)>)>
        on_background_queue; // any thread; dropped when it has ended
};

class Handler {
  public:
    virtual ~Handler() = default;

    // Before anything runs, children first. Throws ConfigError when the layer cannot be served.
    virtual void load(HandlerContext context) = 0;

    // Names the content for the layer above, whatever becomes of single members. Valid once loaded.
    virtual std::string identity() const = 0;

    // The whole operation on this layer, by any means.
    virtual Task<IoResult> execute(Executor &executor, LeafIo io, const Run &run) = 0;

    // A killed predecessor had this operation in flight: makes the answer to every later read the same.
    virtual Task<int> settle(Executor &executor, LeafIo io, const Run &run) = 0;

    // Once serving, on the background queue.
    virtual void start_background(Executor &executor) = 0;

    // After the queues have stopped, while leaves are still open and the helper thread is still there.
    virtual void finish() {}

    // After that, with everything flushed but these leaves.
    virtual void close(const std::vector<const Leaf *> &unflushed) = 0;

    // { layer, dirty, members, sync }: docs of the control socket. Any thread.
    virtual nlohmann::json status() const = 0;

    // Any thread but the helper. Empty when done, else why not.
    virtual std::string readd(const std::string &member) = 0;
};

} // namespace us
