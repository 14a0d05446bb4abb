// Uninitialised memory for large scratch arrays, in huge pages if the system has them: ten megabytes then cost a few
// page faults instead of thousands.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace vltr::cpu {

template <class T>
class LargeArray {
  static_assert(std::is_trivial_v<T>, "elements are never constructed");

 public:
  void resize(std::int64_t count) {
    constexpr std::size_t kHugePage = std::size_t{2} << 20;
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    const std::size_t pages = (bytes + kHugePage - 1) / kHugePage;
    data_.reset();
    count_ = 0;
    data_.reset(
        static_cast<T*>(pages <= 1 ? std::malloc(bytes + 1) : std::aligned_alloc(kHugePage, pages * kHugePage)));
    if (!data_) throw std::bad_alloc();
    count_ = count;
#if defined(__linux__)
    if (pages > 1) madvise(data_.get(), pages * kHugePage, MADV_HUGEPAGE);  // a hint; a failure changes nothing
#endif
  }
  void clear() { data_.reset(); }
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

}  // namespace vltr::cpu
