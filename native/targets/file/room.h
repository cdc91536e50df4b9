// Room ahead of the end of a file that grows: a write behind the end has the file to itself, and is waited
// for, in any file system; one into room that is there already goes side by side with others.
//
//     │ written │ room: allocated, reads zeros │
//               used                           length
//
// What was not used is given back when the file is closed. A killed server leaves its room in the file, where
// its successor goes on.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <mutex>

namespace us {

class Room {
  public:
    // The file as it was opened. limit: it is not made longer.
    void open(int fd, uint64_t length, uint64_t limit);
    // Before anything is written, any thread.
    void before_write(uint64_t offset, uint64_t length);
    // Bytes that have to stay in the file, whether it is as long yet or not.
    void keep(uint64_t end);
    // After the last write.
    void close();

  private:
    off_t end_of_data() const;

    int fd_ = -1;
    uint64_t limit_ = 0;
    std::atomic<uint64_t> used_{0}, length_{0};
    std::mutex mutex_; // of making room: so that no length is older than one that was there
    bool refused_ = false;
};

} // namespace us
