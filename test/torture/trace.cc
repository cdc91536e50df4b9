#include "trace.h"

#include <cstdarg>
#include <cstdio>

Trace &trace() {
    static Trace all;
    return all;
}

void Trace::add(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    steps_.emplace_back(text);
}

void Trace::print() const {
    for (const std::string &step : steps_)
        printf("%s\n", step.c_str());
}
