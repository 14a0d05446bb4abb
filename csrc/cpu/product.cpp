// Both matrices are first copied in the order that the kernel reads: panels of a for as many rows as a tile has, and of
// b for as many columns. The panels of a are shared by all threads; each item of work copies its own columns of b. An
// item has all rows, or part of them where there are more threads than groups of columns.
#include "cpu/product.hpp"

#include <algorithm>
#include <cstring>

#include "core/large_array.hpp"
#include "core/span.hpp"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace vltr::cpu {
namespace {

constexpr std::int64_t kBlocks = 8;         // of depth, whose panels of a are kept at once
constexpr std::int64_t kRowsAtOnce = 1024;  // of a
constexpr std::int64_t kColsOfItem = 256;   // with kDepthOfSum rows of b: half of a small L2 cache
constexpr std::int64_t kLeastPanels = 4;    // of a in an item: fewer do not repay the copy of b
constexpr int kMostTile = 512;              // floats

std::int64_t ceil_divide(std::int64_t count, std::int64_t size) { return (count + size - 1) / size; }

constexpr int kSquare = 4;

// Transposes 4 x 4 numbers.
void transpose(const float* from, std::int64_t from_stride, float* to, std::int64_t to_stride) {
#if defined(__SSE__)
  __m128 a = _mm_loadu_ps(from);
  __m128 b = _mm_loadu_ps(from + from_stride);
  __m128 c = _mm_loadu_ps(from + 2 * from_stride);
  __m128 d = _mm_loadu_ps(from + 3 * from_stride);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(to, a);
  _mm_storeu_ps(to + to_stride, b);
  _mm_storeu_ps(to + 2 * to_stride, c);
  _mm_storeu_ps(to + 3 * to_stride, d);
#else
  for (int i = 0; i < kSquare; ++i) {
    for (int j = 0; j < kSquare; ++j) to[j * to_stride + i] = from[i * from_stride + j];
  }
#endif
}

// Copies `count` lines, each of `depth` numbers, so that the first numbers of all lines lie together, and then the
// second ones. Zeros stand for the lines from `count` to `width`.
void copy_panel(const float* from, std::int64_t line_stride, std::int64_t depth_stride, std::int64_t count,
                std::int64_t width, std::int64_t depth, float* __restrict to) {
  if (count < width) std::fill_n(to, width * depth, 0.0f);
  if (line_stride == 1) {
    for (std::int64_t k = 0; k < depth; ++k) {
      std::memcpy(to + k * width, from + k * depth_stride, static_cast<std::size_t>(count) * sizeof(float));
    }
    return;
  }
  std::int64_t line = 0;
  if (depth_stride == 1) {
    for (; line + kSquare <= count; line += kSquare) {
      const float* const numbers = from + line * line_stride;
      std::int64_t k = 0;
      for (; k + kSquare <= depth; k += kSquare) transpose(numbers + k, line_stride, to + k * width + line, width);
      for (; k < depth; ++k) {
        for (int i = 0; i < kSquare; ++i) to[k * width + line + i] = numbers[i * line_stride + k];
      }
    }
  }
  for (; line < count; ++line) {
    const float* const numbers = from + line * line_stride;
    for (std::int64_t k = 0; k < depth; ++k) to[k * width + line] = numbers[k * depth_stride];
  }
}

class Multiplication {
 public:
  Multiplication(const Product& request, const Runner& runner)
      : request_(request), runner_(runner), kernel_(product_kernel()) {}

  void run() {
    if (request_.depth == 0) std::fill_n(request_.out, request_.rows * request_.cols, 0.0f);
    const std::int64_t rows = std::min(kRowsAtOnce, request_.rows);
    const std::int64_t depth = std::min(kBlocks * kDepthOfSum, request_.depth);
    panels_.resize(ceil_divide(rows, kernel_.rows) * kernel_.rows * depth);
    for (first_row_ = 0; first_row_ < request_.rows; first_row_ += kRowsAtOnce) {
      rows_ = std::min(kRowsAtOnce, request_.rows - first_row_);
      for (first_ = 0; first_ < request_.depth; first_ += kBlocks * kDepthOfSum) {
        depth_ = std::min(kBlocks * kDepthOfSum, request_.depth - first_);
        copy_rows();
        multiply_panels();
      }
    }
  }

 private:
  struct Panels {
    std::int64_t first;
    std::int64_t end;
  };

  std::int64_t num_panels() const { return ceil_divide(rows_, kernel_.rows); }
  std::int64_t length_of(std::int64_t begin) const { return std::min(kDepthOfSum, depth_ - begin); }
  // The panel of a that begins at row `panel * kernel_.rows` and at `begin` of the depth.
  float* panel_at(std::int64_t begin, std::int64_t panel) {
    return panels_.data() + num_panels() * kernel_.rows * begin + panel * kernel_.rows * length_of(begin);
  }

  void copy_rows() {
    const FloatMatrix& a = request_.a;
    const double cost = static_cast<double>(rows_) * static_cast<double>(depth_);
    runner_.for_cost(cost).run(num_panels(), [&](std::int64_t panel, int) {
      const std::int64_t row = panel * kernel_.rows;
      const std::int64_t count = std::min<std::int64_t>(kernel_.rows, rows_ - row);
      for (std::int64_t begin = 0; begin < depth_; begin += kDepthOfSum) {
        const float* const from = a.data + (first_row_ + row) * a.row_stride + (first_ + begin) * a.col_stride;
        copy_panel(from, a.row_stride, a.col_stride, count, kernel_.rows, length_of(begin), panel_at(begin, panel));
      }
    });
  }

  void multiply_panels() {
    const double cost =
        0.02 * static_cast<double>(rows_) * static_cast<double>(depth_) * static_cast<double>(request_.cols);
    const Runner runner = runner_.for_cost(cost);
    const std::int64_t groups = ceil_divide(request_.cols, kColsOfItem);
    const std::int64_t most_parts = std::max<std::int64_t>(1, num_panels() / kLeastPanels);
    const std::int64_t parts = std::min(most_parts, ceil_divide(runner.threads, std::max<std::int64_t>(1, groups)));
    runner.run(groups * parts, [&](std::int64_t item, int) {
      const std::int64_t col = item / parts * kColsOfItem;
      const std::int64_t part = item % parts;
      const Panels panels{part * num_panels() / parts, (part + 1) * num_panels() / parts};
      Array<float> copied(kColsOfItem * kDepthOfSum);
      for (std::int64_t begin = 0; begin < depth_; begin += kDepthOfSum) {
        multiply_block(begin, panels, col, std::min(kColsOfItem, request_.cols - col), copied.data());
      }
    });
  }

  void multiply_block(std::int64_t begin, Panels panels, std::int64_t col, std::int64_t cols, float* copied) {
    const FloatMatrix& b = request_.b;
    const std::int64_t length = length_of(begin);
    const float* const from = b.data + (first_ + begin) * b.row_stride;
    for (std::int64_t j = 0; j < cols; j += kernel_.cols) {
      const std::int64_t count = std::min<std::int64_t>(kernel_.cols, cols - j);
      copy_panel(from + (col + j) * b.col_stride, b.col_stride, b.row_stride, count, kernel_.cols, length,
                 copied + j * length);
    }
    const bool add = first_ + begin > 0;
    for (std::int64_t panel = panels.first; panel < panels.end; ++panel) {
      const std::int64_t row = panel * kernel_.rows;
      const std::int64_t rows = std::min<std::int64_t>(kernel_.rows, rows_ - row);
      for (std::int64_t j = 0; j < cols; j += kernel_.cols) {
        const std::int64_t count = std::min<std::int64_t>(kernel_.cols, cols - j);
        float* const out = request_.out + (first_row_ + row) * request_.cols + col + j;
        const float* const a = panel_at(begin, panel);
        if (rows == kernel_.rows && count == kernel_.cols) {
          kernel_.tile(length, a, copied + j * length, out, request_.cols, add);
        } else {
          multiply_part(length, a, copied + j * length, out, rows, count, add);
        }
      }
    }
  }

  // A tile that is cut off by the edges of the result.
  void multiply_part(std::int64_t length, const float* a, const float* b, float* out, std::int64_t rows,
                     std::int64_t cols, bool add) const {
    float whole[kMostTile];
    kernel_.tile(length, a, b, whole, kernel_.cols, false);
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < cols; ++j) {
        float& cell = out[i * request_.cols + j];
        const float sum = whole[i * kernel_.cols + j];
        cell = add ? cell + sum : sum;
      }
    }
  }

  const Product& request_;
  const Runner& runner_;
  const ProductKernel kernel_;
  LargeArray<float> panels_;
  std::int64_t first_row_ = 0;  // of the rows whose panels are kept
  std::int64_t rows_ = 0;
  std::int64_t first_ = 0;  // of the depth
  std::int64_t depth_ = 0;
};

}  // namespace

void multiply(const Product& request, const Runner& runner) { Multiplication(request, runner).run(); }

}  // namespace vltr::cpu
