// Uninitialised memory for large arrays, in huge pages if the system has them: ten megabytes then cost a few page
// faults instead of thousands.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "core/span.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace vltr {

// Memory for std::free().
inline void* allocate_large(std::size_t bytes) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const std::size_t pages = (bytes + kHugePage - 1) / kHugePage;
  void* const data = pages <= 1 ? std::malloc(bytes + 1) : std::aligned_alloc(kHugePage, pages * kHugePage);
  if (data == nullptr) throw std::bad_alloc();
#if defined(__linux__)
  if (pages > 1) madvise(data, pages * kHugePage, MADV_HUGEPAGE);  // a hint; a failure changes nothing
#endif
  return data;
}

// Scratch memory.
template <class T>
class LargeArray {
  static_assert(std::is_trivial_v<T>, "elements are never constructed");

 public:
  void resize(std::int64_t count) {
    data_.reset();
    count_ = 0;
    data_.reset(static_cast<T*>(allocate_large(static_cast<std::size_t>(count) * sizeof(T))));
    count_ = count;
  }
  void clear() {
    data_.reset();
    count_ = 0;
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::int64_t count() const { return count_; }

 private:
  struct Free {
    void operator()(T* ptr) const { std::free(ptr); }
  };
  std::unique_ptr<T, Free> data_;
  std::int64_t count_ = 0;
};

// An allocator that leaves new elements uninitialised unless a value is given.
template <class T>
struct LargeAllocator {
  using value_type = T;

  LargeAllocator() = default;
  template <class Other>
  LargeAllocator(const LargeAllocator<Other>&) {}
  T* allocate(std::size_t count) { return static_cast<T*>(allocate_large(count * sizeof(T))); }
  void deallocate(T* ptr, std::size_t) { std::free(ptr); }
  template <class U, class... Values>
  void construct(U* ptr, Values&&... values) {
    if constexpr (sizeof...(Values) != 0) ::new (static_cast<void*>(ptr)) U(std::forward<Values>(values)...);
  }
  friend bool operator==(const LargeAllocator&, const LargeAllocator&) { return true; }
  friend bool operator!=(const LargeAllocator&, const LargeAllocator&) { return false; }
};

// A column of a large table. resize() does not initialise its new elements.
template <class T>
using TableColumn = Array<T, LargeAllocator<T>>;

}  // namespace vltr
