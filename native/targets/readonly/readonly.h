// readonly: a disk that takes no more writes, as a worn-out or write-protected one: the device above still
// looks writable, and whatever writes gets EROFS. params: enabled, default true.
#pragma once

#include <atomic>

#include "targets/instrument.h"

namespace us {

class ReadonlyInstrument : public Instrument {
  public:
    using Instrument::Instrument;
    Task<IoResult> execute(Executor &executor, LeafIo io, const Run &run) override;

  protected:
    Watch configure(const nlohmann::json &params) override;
    nlohmann::json counts() const override;

  private:
    std::atomic<bool> enabled_{false};
    std::atomic<uint64_t> refused_{0};
};

} // namespace us
