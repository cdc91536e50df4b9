#include "folder.h"

void Inode::reserve(size_t bytes) {
    constexpr size_t PAGE = 4096;
    if (bytes <= room_) return;
    room_ = (bytes + PAGE - 1) / PAGE * PAGE;
    auto *fresh = static_cast<std::byte *>(aligned_alloc(PAGE, room_));
    if (!fresh) abort();
    if (size_) memcpy(fresh, data_, size_);
    free(data_);
    data_ = fresh;
}

void Inode::resize(size_t bytes) {
    reserve(bytes);
    if (bytes > size_) memset(data_ + size_, 0, bytes - size_);
    size_ = bytes;
}

void Inode::append(const void *bytes, size_t length) {
    size_t end = size_;
    resize(end + length);
    memcpy(data_ + end, bytes, length);
    synced = false;
}

// Names of one file stay names of one file.
Folder::Folder(const Folder &other) {
    std::map<const Inode *, std::shared_ptr<Inode>> copies;
    auto copy = [&](const std::shared_ptr<Inode> &inode) {
        if (!inode) return std::shared_ptr<Inode>();
        std::shared_ptr<Inode> &made = copies[inode.get()];
        if (!made) made = std::make_shared<Inode>(*inode);
        return made;
    };
    for (const auto &[name, inode] : other.visible_)
        visible_.emplace(name, copy(inode));
    for (const auto &[name, inode] : other.durable_)
        durable_.emplace(name, copy(inode));
    for (const auto &[name, inode] : other.changes_)
        changes_.emplace_back(name, copy(inode));
}

std::shared_ptr<Inode> Folder::find(const std::string &name) const {
    auto found = visible_.find(name);
    return found == visible_.end() ? nullptr : found->second;
}

void Folder::set(const std::string &name, std::shared_ptr<Inode> inode) {
    changes_.emplace_back(name, inode);
    if (inode)
        visible_[name] = std::move(inode);
    else
        visible_.erase(name);
}

void Folder::flush() {
    durable_ = visible_;
    changes_.clear();
}

void Folder::cut_power(Prng &prng) {
    size_t kept = prng.below(changes_.size() + 1);
    for (size_t i = 0; i < kept; i++) {
        auto &[name, inode] = changes_[i];
        if (inode)
            durable_[name] = inode;
        else
            durable_.erase(name);
    }
    visible_ = durable_;
    changes_.clear();
    for (auto &[name, inode] : visible_) {
        if (!inode->synced && inode->size()) inode->resize(prng.below(inode->size() + 1));
        inode->synced = true;
    }
}

void Folder::forget_all() {
    visible_.clear();
    durable_.clear();
    changes_.clear();
}
