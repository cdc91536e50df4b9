// A file with a process's number, locked as long as the process lives: the lock says more than the number.
#pragma once

#include <string>

namespace us {

class PidFile {
  public:
    // Creates, locks and writes FOLDER/NAME. held() is false when another process has the lock. Throws
    // std::system_error.
    PidFile(const std::string &folder, std::string name);
    // Removes the file when it is ours; works without the path.
    ~PidFile();
    PidFile(const PidFile &) = delete;
    PidFile &operator=(const PidFile &) = delete;

    bool held() const { return held_; }
    // In a child: lets go of the inherited descriptors and leaves the file to the parent.
    void disown();

  private:
    std::string name_;
    int folder_fd_ = -1, fd_ = -1;
    bool held_ = false;
};

} // namespace us
