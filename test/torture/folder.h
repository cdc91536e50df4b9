// A simulated folder of small files: the state directory, and the run directory on a tmpfs.
//
// A file's content is durable once it has been flushed, a name once its folder has been. After a power cut a
// prefix of the changes of names since then is there, and of a file that was never flushed some beginning.
#pragma once

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "prng.h"

// Whole pages: they may be mapped.
class Inode {
  public:
    Inode() = default;
    Inode(const Inode &other) : synced(other.synced) {
        reserve(other.size_);
        size_ = other.size_;
        if (size_) memcpy(data_, other.data_, size_);
    }
    Inode &operator=(const Inode &) = delete;
    ~Inode() { free(data_); }

    std::byte *data() { return data_; }
    size_t size() const { return size_; }
    void resize(size_t bytes);
    // Up to this length the data stay where they are.
    void reserve(size_t bytes);
    void append(const void *bytes, size_t length);

    bool synced = false;

  private:
    std::byte *data_ = nullptr;
    size_t size_ = 0, room_ = 0;
};

class Folder {
  public:
    Folder() = default;
    Folder(const Folder &other);
    Folder &operator=(const Folder &) = delete;

    std::shared_ptr<Inode> find(const std::string &name) const;
    // inode: nullptr for none any more.
    void set(const std::string &name, std::shared_ptr<Inode> inode);
    void flush();
    void cut_power(Prng &prng);
    void forget_all();

  private:
    using Names = std::map<std::string, std::shared_ptr<Inode>>;

    Names visible_, durable_;
    std::vector<std::pair<std::string, std::shared_ptr<Inode>>> changes_; // since the last flush
};
