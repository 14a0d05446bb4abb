// Appends a batch to the rows of a running evaluation.
#pragma once

#include "core/matrix.hpp"
#include "cuda/device.hpp"

namespace vltr::cuda {

// The same as cpu::append_batch, in one asynchronous launch. *first_bad is device memory; the caller reads it later.
// scores and labels are one shard each.
void append_batch(const Matrix& scores, const Matrix& labels, std::byte* to_scores, std::byte* to_labels,
                  std::int64_t first_row, unsigned long long* first_bad, const Stream& stream);

}  // namespace vltr::cuda
