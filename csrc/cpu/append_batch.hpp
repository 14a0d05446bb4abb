// Appends a batch to the rows of a running evaluation.
#pragma once

#include "cpu/matrix.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

// Copies (B, C) scores to rows in C order, and labels to bytes of 0 or 1. If a label is neither 0 nor 1, lowers
// *first_bad to the row * C + col of the first such label; first_row is the row number of the batch's first row.
void append_batch(const Matrix& scores, const Matrix& labels, std::byte* to_scores, std::byte* to_labels,
                  std::int64_t first_row, std::uint64_t* first_bad, const Runner& runner);

}  // namespace vltr::cpu
