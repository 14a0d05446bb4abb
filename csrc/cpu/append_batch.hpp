// A running evaluation takes a batch: its scores and labels go behind those that it holds.
#pragma once

#include "cpu/matrix.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

// Copies (B, C) scores, and labels as bytes of 0 or 1, to C-ordered rows. Lowers *first_bad to row * C + col of the
// first label that is neither 0 nor 1, where rows are counted from first_row.
void append_batch(const Matrix& scores, const Matrix& labels, std::byte* to_scores, std::byte* to_labels,
                  std::int64_t first_row, std::uint64_t* first_bad, const Runner& runner);

}  // namespace vltr::cpu
