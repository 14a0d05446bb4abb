// The rows of boxes by image and content.
#pragma once

#include <cstdint>

#include "core/span.hpp"
#include "cpu/pool.hpp"

namespace vltr::cpu {

struct BoxTable {
  const std::int32_t* cls = nullptr;
  const double* corners = nullptr;  // four a row
  const double* score = nullptr;
};

// The rows that are kept of each group, in order of class, corners, score and row. limit: the highest scores of a group
// that are kept, of equal ones the first in that order; 0 for all. rows: the rows of group g stand at offset[g] to
// offset[g + 1]. kept: has room for as many rows; the kept ones of all groups stand there one after another.
// Returns their number.
std::int64_t order_boxes(const BoxTable& boxes, Span<const std::int64_t> rows, Span<const std::int64_t> offset,
                         std::int64_t limit, std::int64_t* kept, const Runner& runner);

}  // namespace vltr::cpu
