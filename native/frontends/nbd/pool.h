// Objects of one kind, made in blocks when first needed and kept: nothing is allocated per request once a
// connection has been as busy as it gets.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace us::nbd {

// T has a member `T *next_free`.
template <typename T, size_t Block, size_t Limit> class Pool {
  public:
    // nullptr: all Limit objects are in use.
    T *take() {
        if (!free_ && blocks_.size() * Block < Limit) grow();
        T *object = free_;
        if (object) {
            free_ = object->next_free;
            in_use_++;
        }
        return object;
    }
    void give_back(T *object) {
        object->next_free = free_;
        free_ = object;
        in_use_--;
    }
    size_t in_use() const { return in_use_; }

  private:
    static_assert(Limit % Block == 0);
    void grow() {
        blocks_.push_back(std::make_unique<T[]>(Block));
        for (size_t i = Block; i-- > 0;) {
            blocks_.back()[i].next_free = free_;
            free_ = &blocks_.back()[i];
        }
    }

    std::vector<std::unique_ptr<T[]>> blocks_;
    T *free_ = nullptr;
    size_t in_use_ = 0;
};

} // namespace us::nbd
