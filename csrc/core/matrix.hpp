// A borrowed (N, C) matrix: row shards of one element type, any strides, never copied. The memory may be on the host or
// on a device; the type does not record which.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "core/element.hpp"
#include "core/unknown.hpp"

namespace vltr {

// Strides are in bytes and may be zero or negative.
struct Shard {
  const std::byte* data;
  std::int64_t first_row;  // row number of the shard's row 0 in the whole matrix
  std::int64_t rows;
  std::int64_t row_stride;
  std::int64_t col_stride;

  // True if neighbours in a column are closer together in memory than neighbours in a row.
  VLTR_HD bool is_class_major() const {
    const auto size = [](std::int64_t stride) { return stride < 0 ? -stride : stride; };
    return size(row_stride) < size(col_stride);
  }
  VLTR_HD const std::byte* at(std::int64_t row, std::int64_t col) const {
    return data + (row - first_row) * row_stride + col * col_stride;
  }
};

struct Matrix {
  DType dtype;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<Shard> shards;              // ascending, without gaps
  const UnknownCells* unknown = nullptr;  // the cells that are left out; null if all are known

  void append(const std::byte* data, std::int64_t shard_rows, std::int64_t row_stride, std::int64_t col_stride) {
    shards.push_back({data, rows, shard_rows, row_stride, col_stride});
    rows += shard_rows;
  }
  const Shard& shard_of(std::int64_t row) const {
    if (shards.size() == 1) return shards.front();
    const auto after = std::upper_bound(shards.begin(), shards.end(), row,
                                        [](std::int64_t r, const Shard& shard) { return r < shard.first_row; });
    return *(after - 1);
  }
};

// Single elements of a matrix: their rows and classes, listed in host memory.
struct Cells {
  const std::uint32_t* row = nullptr;
  const std::uint32_t* cls = nullptr;
  std::int64_t count = 0;
};

}  // namespace vltr
