// Contiguous memory with signed indices: Span is a view, Array owns its elements.
//
// Rows, offsets and counts are signed 64-bit integers, as in numpy, but std::vector takes unsigned ones. These two
// types take the signed index, so that no caller casts it. They check nothing: an index must be in [0, size).
#pragma once

#include <vector>

#include "core/platform.hpp"

namespace vltr {

template <class T>
class Span {
 public:
  VLTR_HD Span(T* data, std::int64_t size) : data_(data), size_(size) {}
  VLTR_HD T& operator[](std::int64_t i) const { return data_[i]; }
  VLTR_HD T* data() const { return data_; }
  VLTR_HD std::int64_t size() const { return size_; }
  VLTR_HD std::int64_t count() const { return size_; }  // as of an Array
  VLTR_HD T* begin() const { return data_; }
  VLTR_HD T* end() const { return data_ + size_; }

 private:
  T* data_;
  std::int64_t size_;
};

// A std::vector in all but the type of its index. It adds no member, so it converts to one for free.
template <class T, class Allocator = std::allocator<T>>
class Array : public std::vector<T, Allocator> {
  using Vector = std::vector<T, Allocator>;

 public:
  Array() = default;
  explicit Array(std::int64_t count) : Vector(static_cast<std::size_t>(count)) {}
  Array(std::int64_t count, const T& value) : Vector(static_cast<std::size_t>(count), value) {}
  Array(std::initializer_list<T> values) : Vector(values) {}
  Array(Vector values) : Vector(std::move(values)) {}
  template <class Iterator, class = typename std::iterator_traits<Iterator>::iterator_category>
  Array(Iterator first, Iterator last) : Vector(first, last) {}

  T& operator[](std::int64_t i) { return this->data()[i]; }
  const T& operator[](std::int64_t i) const { return this->data()[i]; }
  std::int64_t count() const { return static_cast<std::int64_t>(this->size()); }
  void resize(std::int64_t count) { Vector::resize(static_cast<std::size_t>(count)); }
  void assign(std::int64_t count, const T& value) { Vector::assign(static_cast<std::size_t>(count), value); }
  template <class Iterator, class = typename std::iterator_traits<Iterator>::iterator_category>
  void assign(Iterator first, Iterator last) {
    Vector::assign(first, last);
  }
};

// Lists of several classes, one after another: list c has the elements offset[c] to offset[c + 1] - 1.
struct Offsets : Array<std::int64_t> {
  using Array<std::int64_t>::Array;

  std::int64_t lists() const { return count() - 1; }
  std::int64_t first(std::int64_t c) const { return (*this)[c]; }
  std::int64_t length(std::int64_t c) const { return (*this)[c + 1] - (*this)[c]; }
};

// A view of Offsets.
struct OffsetSpan : Span<const std::int64_t> {
  using Span<const std::int64_t>::Span;

  std::int64_t lists() const { return count() - 1; }
  std::int64_t first(std::int64_t c) const { return (*this)[c]; }
  std::int64_t length(std::int64_t c) const { return (*this)[c + 1] - (*this)[c]; }
  std::int64_t back() const { return (*this)[count() - 1]; }
};

}  // namespace vltr
