// For one who has an image to himself, on media that answer at once: nothing ever waits for anything.
#pragma once

#include <cstdlib>

#include "targets/executor.h"

namespace us::qcow2 {

class Alone : public Executor {
  public:
    void resume_later(std::coroutine_handle<>) override { abort(); }
    Task<IoResult> execute(uint32_t, LeafIo, const Run &) override { abort(); }
    Task<int> offload(std::function<int()>) override { abort(); }
    void spawn(Task<void>) override { abort(); }
    Task<bool> pause(uint64_t) override { abort(); }
    Task<bool> pause_until(uint64_t, const void *) override { abort(); }
    void ring(const void *) override { abort(); }
    bool stopping() const override { return false; }
};

} // namespace us::qcow2
