// error: requests that fail, as device mapper's error and flakey targets and nbdkit's error filter make them.
// params: errno, and those of targets/chooser.h.
#pragma once

#include <atomic>
#include <memory>

#include "targets/chooser.h"
#include "targets/instrument.h"

namespace us {

class ErrorInstrument : public Instrument {
  public:
    using Instrument::Instrument;
    Task<IoResult> execute(Executor &executor, LeafIo io, const Run &run) override;

  protected:
    Watch configure(const nlohmann::json &params) override;
    nlohmann::json counts() const override;

  private:
    struct Settings {
        Settings(const nlohmann::json &params);
        int32_t error; // -errno
        Chooser chooser;
    };
    std::atomic<std::shared_ptr<Settings>> settings_;
    std::atomic<uint64_t> failed_{0};
};

} // namespace us
