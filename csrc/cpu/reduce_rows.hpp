// Rows that are views of one video, such as the thirty clips of a test, reduced to one row.
//
// Every result has the same bits for any order of the views, any threads, shards and instruction set:
//   kMax          the largest score, with its own bits; +0 is above -0
//   kSum          the exact sum, rounded once to double
//   kMean         that sum divided by the number of views, in double
//   kLogMeanExp   m + ln(mean of e^(x - m)), where m is the largest score; the sum of the exponentials is exact
// A row is read once, except where a first pass finds that doubles cannot hold the sum (reduce_strip.hpp).
//
// In    scores (N, C); for each video the numbers of its rows
// Out   (videos, C): the scores' type for kMax; else float for types of at most 16 bits and float32, double for others
// Test  tests/eval/test_reduction.py
#pragma once

#include "core/matrix.hpp"
#include "core/span.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

enum class Reduction : int { kMean, kMax, kSum, kLogMeanExp };

// The type of the result.
DType reduced_type(DType scores, Reduction how);

// Writes the row of each video to out, in C order. Every video has at least one row. Throws BadValue("scores", row,
// class) at the first NaN in row order, and BadValue("infinities", video, class) where a sum has infinities of both
// signs.
void reduce_rows(const Matrix& scores, OffsetSpan offset, Span<const std::uint32_t> rows, Reduction how, std::byte* out,
                 const Runner& runner);

}  // namespace vltr::cpu
