// Snapshots of a layer that is being served, for the control socket. One change at a time: it is begun, and
// goes on while others are answered; whoever began it asks what became of it.
//
//     {"verb":"list"}                             {"snapshots":[…],"underWay":null | {"verb":…,"name":…}}
//     {"verb":"create|apply|delete","name":…}     {"number":N}
//     {"verb":"result","number":N}                {"state":"under-way"} | {"state":"done"[,"snapshot":…]}
//
// or {"error":{"code":…,"message":…}}. A change that has not begun because requests to the layer do not end,
// while those that come wait for it, is taken back after a few seconds. One that has begun is never given up:
// it is under way until it is known what became of it.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "targets/qcow2/image.h"

namespace us::qcow2 {

class SnapshotVerbs {
  public:
    using Post = std::function<void(std::function<void(Executor &)>)>;

    // size: bytes of the layer. post: runs something on a queue; drops it when there is none any more.
    SnapshotVerbs(Image &image, uint64_t size, bool read_only, Post post)
        : image_(image), size_(size), read_only_(read_only), post_(std::move(post)) {}

    // The control thread, which never waits here.
    nlohmann::json answer(const nlohmann::json &request);

  private:
    struct Change {
        std::string verb, name;
    };
    struct Begun {
        uint64_t number = 0;
        Change change;
        std::shared_future<int> result;

        bool under_way() const {
            return result.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
        }
    };

    nlohmann::json list() const;
    nlohmann::json begin(Change change);
    nlohmann::json result(uint64_t number) const;
    nlohmann::json error_of(const Change &change, int error) const;
    Task<void> carry_out(Executor &executor, Change change, std::shared_ptr<std::promise<int>> done);
    Task<void> lose_patience(Executor &executor, std::shared_ptr<bool> ended);

    Image &image_;
    uint64_t size_;
    bool read_only_;
    Post post_;
    std::optional<Begun> last_;
};

} // namespace us::qcow2
