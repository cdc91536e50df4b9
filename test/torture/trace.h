// The steps that led to a failure. Kept only while a failing case is run again.
#pragma once

#include <string>
#include <vector>

class Trace {
  public:
    bool on = false;

    // printf.
    void add(const char *format, ...) __attribute__((format(printf, 2, 3)));

    // The steps of one life, and those of lives that began in the middle of it and ended well, come and go.
    size_t mark() const { return steps_.size(); }
    void back_to(size_t mark) { steps_.resize(mark); }
    void print() const;

  private:
    std::vector<std::string> steps_;
};

Trace &trace();

#define STEP(...)                                                                                            \
    do {                                                                                                     \
        if (trace().on) trace().add(__VA_ARGS__);                                                            \
    } while (0)

// A promise was broken: says so, with what reproduces it, and ends the program.
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
