// A file descriptor that closes itself.
#pragma once

#include <unistd.h>

#include <utility>

namespace us {

class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(Descriptor &&from) noexcept : number_(std::exchange(from.number_, -1)) {}
    Descriptor &operator=(Descriptor &&from) noexcept {
        std::swap(number_, from.number_);
        return *this;
    }
    ~Descriptor() {
        if (number_ >= 0) close(number_);
    }

    int number() const { return number_; } // -1: none

  private:
    int number_ = -1;
};

} // namespace us
