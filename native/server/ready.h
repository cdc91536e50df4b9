// What a starting server tells whoever started it: JSON lines on one descriptor, the last one says how it
// ended.
//
//   {"progress":"waiting for …","layer":"d0"}             any number
//   {"ready":true,"id":3,"pid":4711}                      or
//   {"ready":false,"error":{"code","message","layer","path"}}
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace us {

class Ready {
  public:
    // Takes over `fd`; -1: nobody listens, and everything is silent.
    explicit Ready(int fd) : fd_(fd) {}
    ~Ready();
    Ready(const Ready &) = delete;
    Ready &operator=(const Ready &) = delete;

    void progress(const std::string &text, const std::string &layer = {});
    // Both close the descriptor. `id` of the ublk device; none for NBD.
    void ok(std::optional<uint32_t> id);
    void failed(const std::string &code, const std::string &message, const std::string &layer = {},
                const std::string &path = {});

  private:
    void write_line(const std::string &line);
    void close();
    int fd_;
};

} // namespace us
