#include "cpu/append_batch.hpp"

#include <algorithm>

namespace vltr::cpu {
namespace {

template <class T>
void copy_row(const std::byte* from, std::int64_t stride, std::int64_t cols, std::byte* to) {
  constexpr std::int64_t kSize = sizeof(T);
  if (stride == kSize) {
    std::memcpy(to, from, static_cast<std::size_t>(cols * kSize));
    return;
  }
  for (std::int64_t col = 0; col < cols; ++col) std::memcpy(to + col * kSize, from + col * stride, sizeof(T));
}

// Copies a row of labels as 0 and 1. Returns the first column whose label is neither 0 nor 1, or `cols`.
template <class T>
std::int64_t flag_row(const std::byte* from, std::int64_t stride, std::int64_t cols, std::byte* to) {
  const auto label_at = [=](std::int64_t col) { return label_of(load_element<T>(from + col * stride)); };
  bool valid = true;
  for (std::int64_t col = 0; col < cols; ++col) {
    const int label = label_at(col);
    valid &= label != kBadLabel;
    to[col] = static_cast<std::byte>(label == 1);
  }
  std::int64_t bad = valid ? cols : 0;
  while (bad < cols && label_at(bad) != kBadLabel) ++bad;
  return bad;
}

}  // namespace

void append_batch(const Matrix& scores, const Matrix& labels, std::byte* to_scores, std::byte* to_labels,
                  std::int64_t first_row, std::uint64_t* first_bad, const Runner& runner) {
  constexpr std::int64_t kElementsPerItem = 1 << 16;
  const std::int64_t cols = scores.cols;
  const std::int64_t rows_per_item = std::max<std::int64_t>(1, kElementsPerItem / cols);
  const std::int64_t items = (scores.rows + rows_per_item - 1) / rows_per_item;
  Array<std::uint64_t> bad(items, *first_bad);
  runner.run(items, [&](std::int64_t item, int) {
    std::uint64_t& item_bad = bad[item];
    const std::int64_t end = std::min(scores.rows, (item + 1) * rows_per_item);
    for (std::int64_t row = item * rows_per_item; row < end; ++row) {
      const Shard& from = scores.shard_of(row);
      with_element_type(scores.dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        copy_row<T>(from.at(row, 0), from.col_stride, cols, to_scores + row * cols * std::int64_t{sizeof(T)});
      });
      const Shard& flags = labels.shard_of(row);
      const std::int64_t col = with_element_type(labels.dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        return flag_row<T>(flags.at(row, 0), flags.col_stride, cols, to_labels + row * cols);
      });
      if (col < cols) item_bad = std::min(item_bad, static_cast<std::uint64_t>((first_row + row) * cols + col));
    }
  });
  for (const std::uint64_t index : bad) *first_bad = std::min(*first_bad, index);
}

}  // namespace vltr::cpu
