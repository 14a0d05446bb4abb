// A borrowed array of any rank: what operations other than the scan take. Where it lies is part of it.
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
  std::byte* data = nullptr;  // of element (0, ..., 0); an empty array may have none
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // in bytes; may be zero or negative
  DType dtype = DType::kFloat32;
  int device = -1;            // of CUDA; -1 is CPU memory
  std::uintptr_t stream = 0;  // on a device: the stream on which its content is ready

  bool on_device() const { return device >= 0; }
  std::int64_t size() const {
    std::int64_t count = 1;
    for (const std::int64_t extent : shape) count *= extent;
    return count;
  }
  // Whether the elements lie one after another in C order.
  bool contiguous() const {
    std::int64_t stride = size_of(dtype);
    for (std::size_t axis = shape.size(); axis-- > 0; stride *= shape[axis]) {
      if (shape[axis] != 1 && strides[axis] != stride) return size() == 0;
    }
    return true;
  }
};

}  // namespace vltr
