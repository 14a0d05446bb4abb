// The positives of a label matrix in device memory, class by class.
#pragma once

#include "core/errors.hpp"
#include "core/matrix.hpp"
#include "core/label_marks.hpp"
#include "cuda/device.hpp"
#include "cuda/unknown_view.hpp"

namespace vltr::cuda {

// The positives by class, as on the CPU, with the class of each positive next to its row.
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

// Reads dense 0/1 labels once (twice if more than one in 64 is a 1). Throws BadValue at the first element that is
// neither 0 nor 1, nor one of the values `marks` (label_marks.hpp). Does not read the labels of unread cells, which may
// be anything. Waits for the stream to read the number of positives.
Positives find_positives(const Matrix& labels, unsigned marks, const UnknownView& unread, const Stream& stream);

// The same from one column with the class index of each row. Throws BadValue at the first that is no class index.
Positives index_positives(const Matrix& indices, std::int64_t classes, const Stream& stream);

// Copies positives from host memory. The caller has checked them.
Positives upload_positives(OffsetSpan offset, Span<const std::uint32_t> row, std::int64_t rows, const Stream& stream);

}  // namespace vltr::cuda
