// The positives of a label matrix, class by class.
#pragma once

#include "core/errors.hpp"
#include "cpu/matrix.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

// Compressed columns: the positive rows of class c, ascending, are rows[offset[c] .. offset[c + 1]).
struct Positives {
  std::vector<std::int64_t> offset;
  std::vector<std::uint32_t> rows;
};

// Reads dense 0/1 labels once. Throws BadValue at the first element that is neither 0 nor 1.
Positives find_positives(const Matrix& labels, const Runner& runner);

}  // namespace vltr::cpu
