// An image that is made smaller while it is served, for the control socket. It takes as long as it takes:
// whoever began it asks how far it is.
//
//     {"verb":"begin"}                 {"number":N}
//     {"verb":"result","number":N}     {"state":"under-way","phase":…,"doneBytes":…,"totalBytes":…}, or
//                                      {"state":"done","zeroBytes":…,"movedBytes":…,"movedTableBytes":…}
//     {"verb":"stop","number":N}       {"ok":true}: it ends soon, by an error; what it has done holds
//
// or {"error":{"code":…,"message":…}}. Where it has to wait for requests that do not end below, and those
// that come wait for it, it gives up after a few seconds.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "targets/qcow2/compact.h"

namespace us::qcow2 {

class CompactVerbs {
  public:
    using Post = std::function<void(std::function<void(Executor &)>)>;

    CompactVerbs(Image &image, bool read_only, Post post)
        : image_(image), read_only_(read_only), post_(std::move(post)) {}

    // The control thread, which never waits here.
    nlohmann::json answer(const nlohmann::json &request);

  private:
    struct Begun {
        Compaction compaction;
        std::promise<int> done;
        std::shared_future<int> result{done.get_future().share()};

        bool under_way() const {
            return result.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
        }
    };

    nlohmann::json begin();
    nlohmann::json result();
    Task<void> carry_out(Executor &executor, std::shared_ptr<Begun> begun);
    Task<void> watch(Executor &executor, std::shared_ptr<Begun> begun, std::shared_ptr<bool> ended);

    Image &image_;
    bool read_only_;
    Post post_;
    uint64_t number_ = 0;
    std::shared_ptr<Begun> last_;
};

} // namespace us::qcow2
