// A borrowed array of any rank with its device and stream: the argument of all operations but those on score matrices.
#pragma once

#include <cstddef>
#include <vector>

#include "core/element.hpp"

namespace vltr {

inline std::int64_t size_of(DType dtype) {
  return with_element_type(dtype,
                           [](auto tag) { return static_cast<std::int64_t>(sizeof(typename decltype(tag)::type)); });
}

struct Tensor {
  std::byte* data = nullptr;  // address of element (0, ..., 0); may be null if the array is empty
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // in bytes; may be zero or negative
  DType dtype = DType::kFloat32;
  int device = -1;            // CUDA device; -1 is CPU memory
  std::uintptr_t stream = 0;  // on a device: the stream that its content is ordered on

  bool on_device() const { return device >= 0; }
  std::int64_t size() const {
    std::int64_t count = 1;
    for (const std::int64_t extent : shape) count *= extent;
    return count;
  }
  // True if the elements are contiguous in C order.
  bool contiguous() const {
    std::int64_t stride = size_of(dtype);
    for (std::size_t axis = shape.size(); axis-- > 0; stride *= shape[axis]) {
      if (shape[axis] != 1 && strides[axis] != stride) return size() == 0;
    }
    return true;
  }
};

}  // namespace vltr
