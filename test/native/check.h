// The smallest test harness that says what went wrong: TEST registers, CHECK compares, main runs all or those
// named.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

struct Test {
    std::string name;
    std::function<void()> run;
};

inline std::vector<Test> &tests() {
    static std::vector<Test> all;
    return all;
}

struct Registered {
    Registered(const char *name, std::function<void()> run) { tests().push_back({name, std::move(run)}); }
};

#define TEST(name)                                                                                           \
    static void test_##name();                                                                               \
    static Registered registered_##name(#name, test_##name);                                                 \
    static void test_##name()

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (condition) break;                                                                                \
        fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                            \
        exit(1);                                                                                             \
    } while (0)

#define CHECK_EQ(actual, expected)                                                                           \
    do {                                                                                                     \
        auto check_a = (actual);                                                                             \
        decltype(check_a) check_e = (expected);                                                              \
        if (check_a == check_e) break;                                                                       \
        fprintf(stderr, "%s:%d: %s is %s, expected %s\n", __FILE__, __LINE__, #actual,                       \
                shown(check_a).c_str(), shown(check_e).c_str());                                             \
        exit(1);                                                                                             \
    } while (0)

inline std::string shown(const std::string &value) {
    return "\"" + value + "\"";
}
template <typename T> std::string shown(const T &value) {
    return std::to_string(value);
}
