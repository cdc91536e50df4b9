// Runs the native unit tests: all of them, or those whose names match a pattern of the shell that is given.
// Each in a process of its own, so that one may kill itself or change its limits.
#include <fnmatch.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "check.h"

namespace {

bool wanted(const Test &test, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (fnmatch(argv[i], test.name.c_str(), 0) == 0) return true;
    return argc == 1;
}

bool passes(const Test &test) {
    fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
        test.run();
        exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("fork");
        exit(1);
    }
    if (WIFSIGNALED(status)) fprintf(stderr, "died of %s\n", strsignal(WTERMSIG(status)));
    return status == 0;
}

} // namespace

int main(int argc, char **argv) {
    int ran = 0, failed = 0;
    for (const Test &test : tests()) {
        if (!wanted(test, argc, argv)) continue;
        ran++;
        bool ok = passes(test);
        failed += !ok;
        printf("%s %s\n", ok ? "ok  " : "FAIL", test.name.c_str());
    }
    printf("%d tests, %d failed\n", ran, failed);
    return failed == 0 && ran > 0 ? 0 : 1;
}
