// The positives of a label matrix in device memory, class by class.
#pragma once

#include "core/errors.hpp"
#include "core/matrix.hpp"
#include "cuda/device.hpp"

namespace vltr::cuda {

// Compressed columns, as on the CPU; the class of each positive stands beside its row.
struct Positives {
  std::int64_t rows = 0;  // of the labels
  std::int64_t classes = 0;
  std::int64_t count = 0;
  std::int64_t longest = 0;          // positives of the class that has most
  DeviceArray<std::int64_t> offset;  // (classes + 1)
  DeviceArray<std::uint32_t> row;    // (count), ascending in each class
  DeviceArray<std::uint32_t> cls;    // (count)

  const Stream& stream() const { return offset.stream(); }
};

// Reads dense 0/1 labels once (twice where more than one in 64 is a 1). Throws BadValue at the first element that is
// neither 0 nor 1. Waits for the stream, to know how many there are.
Positives find_positives(const Matrix& labels, const Stream& stream);

// The same from one column with the class index of each row. Throws BadValue at the first that is none.
Positives index_positives(const Matrix& indices, std::int64_t classes, const Stream& stream);

// From host memory, where they have been checked.
Positives upload_positives(const std::vector<std::int64_t>& offset, const std::vector<std::uint32_t>& row,
                           std::int64_t rows, const Stream& stream);

}  // namespace vltr::cuda
