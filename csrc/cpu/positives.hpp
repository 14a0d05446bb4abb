// The positives of a label matrix, class by class.
#pragma once

#include "core/errors.hpp"
#include "core/span.hpp"
#include "cpu/matrix.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

// The positive rows of each class, ascending, class after class.
struct Positives {
  Offsets offset;
  Array<std::uint32_t> rows;

  std::int64_t classes() const { return offset.lists(); }
  Span<const std::uint32_t> rows_of(std::int64_t c) const { return {rows.data() + offset.first(c), offset.length(c)}; }
};

// Reads dense 0/1 labels once. Throws BadValue at the first element that is neither 0 nor 1.
Positives find_positives(const Matrix& labels, const Runner& runner);

}  // namespace vltr::cpu
