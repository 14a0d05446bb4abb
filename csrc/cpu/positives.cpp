#include "cpu/positives.hpp"

#include <optional>

namespace vltr::cpu {
namespace {

struct Cell {
  std::uint32_t row;
  std::uint32_t col;
};

// True if the element is a 1. Records the first bad element in `bad`. Minus zero is a zero.
template <class T>
bool is_positive(const std::byte* ptr, std::int64_t row, std::int64_t col, std::optional<Cell>& bad) {
  const int label = label_of(load_element<T>(ptr));
  if (label == kBadLabel && !bad) bad = Cell{static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(col)};
  return label == 1;
}

// Labels are nearly all zero. Blocks of zero bytes are skipped, then words of zero bytes; only the elements
// of other words are read.
constexpr std::int64_t kBlockBytes = 128;
constexpr std::int64_t kWordBytes = 8;

bool block_is_zero(const std::byte* block) {
  std::uint64_t any = 0;
  for (std::int64_t i = 0; i < kBlockBytes; i += kWordBytes) any |= load_element<std::uint64_t>(block + i);
  return any == 0;
}

template <class T>
void find_in_row(const std::byte* row_data, std::int64_t row, std::int64_t cols, std::int64_t stride,
                 std::vector<Cell>& found, std::optional<Cell>& bad) {
  const auto look = [&](std::int64_t col) {
    if (is_positive<T>(row_data + col * stride, row, col, bad)) {
      found.push_back({static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(col)});
    }
  };
  constexpr std::int64_t kSize = sizeof(T);
  constexpr std::int64_t kWord = kWordBytes / kSize;
  constexpr std::int64_t kBlock = kBlockBytes / kSize;
  std::int64_t col = 0;
  if (stride == kSize) {
    while (col + kWord <= cols) {
      if (col + kBlock <= cols && block_is_zero(row_data + col * kSize)) {
        col += kBlock;
        continue;
      }
      const std::int64_t end = std::min(col + kBlock, cols - kWord + 1);
      for (; col < end; col += kWord) {
        if (load_element<std::uint64_t>(row_data + col * kSize) == 0) continue;
        for (std::int64_t i = col; i < col + kWord; ++i) look(i);
      }
    }
  }
  for (; col < cols; ++col) look(col);
}

// Class-major labels are read class by class. Reading by row would fetch every cache line once for each of its rows.
template <class T>
void find_in_tile(const Tile& tile, std::int64_t cols, std::vector<Cell>& found, std::optional<Cell>& bad) {
  const Shard& shard = *tile.shard;
  if (!shard.is_class_major()) {
    for (std::int64_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
      find_in_row<T>(shard.at(row, 0), row, cols, shard.col_stride, found, bad);
    }
    return;
  }
  std::optional<Cell> first;
  for (std::int64_t col = 0; col < cols; ++col) {
    std::vector<Cell> transposed;
    std::optional<Cell> bad_row;
    find_in_row<T>(shard.at(tile.first_row, col), col, tile.rows, shard.row_stride, transposed, bad_row);
    for (const Cell& cell : transposed)
      found.push_back({static_cast<std::uint32_t>(tile.first_row) + cell.col, cell.row});
    if (bad_row && (!first || bad_row->col + tile.first_row < first->row)) {
      first = Cell{static_cast<std::uint32_t>(tile.first_row) + bad_row->col, bad_row->row};
    }
  }
  if (first) bad = first;
}

}  // namespace

Positives find_positives(const Matrix& labels, const Runner& runner) {
  const std::int64_t element =
      with_element_type(labels.dtype, [](auto tag) { return sizeof(typename decltype(tag)::type); });
  const std::int64_t tile_rows =
      std::clamp<std::int64_t>((std::int64_t{1} << 20) / std::max<std::int64_t>(1, labels.cols * element), 16, 1 << 16);
  const Array<Tile> tiles = row_tiles(labels, tile_rows);
  Array<std::vector<Cell>> found(tiles.count());
  Array<std::optional<Cell>> bad(tiles.count());
  runner.run(tiles.count(), [&](std::int64_t i, int) {
    with_element_type(labels.dtype, [&](auto tag) {
      find_in_tile<typename decltype(tag)::type>(tiles[i], labels.cols, found[i], bad[i]);
    });
  });
  for (const std::optional<Cell>& cell : bad) {
    if (cell) throw BadValue("labels", cell->row, cell->col);
  }

  // Tiles, and the cells of each class in a tile, are in row order. So a counting sort by class
  // leaves the rows ascending.
  Positives positives;
  positives.offset.assign(labels.cols + 1, 0);
  for (const auto& cells : found) {
    for (const Cell& cell : cells) ++positives.offset[cell.col + 1];
  }
  for (std::int64_t c = 0; c < labels.cols; ++c) positives.offset[c + 1] += positives.offset[c];
  positives.rows.resize(positives.offset.back());
  Array<std::int64_t> next(positives.offset.begin(), positives.offset.end() - 1);
  for (const auto& cells : found) {
    for (const Cell& cell : cells) positives.rows[next[cell.col]++] = cell.row;
  }
  return positives;
}

}  // namespace vltr::cpu
