#include "cpu/positives.hpp"

#include <optional>

namespace vltr::cpu {
namespace {

struct Place {
  std::uint32_t row;
  std::uint32_t col;
};

// True when the element is a 1; notes a bad one. Minus zero is a zero.
template <class T>
bool is_positive(const std::byte* place, std::int64_t row, std::int64_t col, std::optional<Place>& bad) {
  const int label = label_of(load_element<T>(place));
  if (label == kBadLabel && !bad) bad = Place{static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(col)};
  return label == 1;
}

// Labels are nearly all zero: blocks of zero bytes are skipped, then words, and only elements of the other words are
// looked at.
constexpr std::int64_t kBlockBytes = 128;
constexpr std::int64_t kWordBytes = 8;

bool block_is_zero(const std::byte* block) {
  std::uint64_t any = 0;
  for (std::int64_t i = 0; i < kBlockBytes; i += kWordBytes) any |= load_element<std::uint64_t>(block + i);
  return any == 0;
}

template <class T>
void scan_row(const std::byte* row_data, std::int64_t row, std::int64_t cols, std::int64_t stride,
              std::vector<Place>& found, std::optional<Place>& bad) {
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

// Class-major labels are walked class by class, or every line would be fetched once for each of its rows.
template <class T>
void scan_tile(const Tile& tile, std::int64_t cols, std::vector<Place>& found, std::optional<Place>& bad) {
  const Shard& shard = *tile.shard;
  if (!shard.is_class_major()) {
    for (std::int64_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
      scan_row<T>(shard.at(row, 0), row, cols, shard.col_stride, found, bad);
    }
    return;
  }
  std::optional<Place> first;
  for (std::int64_t col = 0; col < cols; ++col) {
    std::vector<Place> transposed;
    std::optional<Place> bad_row;
    scan_row<T>(shard.at(tile.first_row, col), col, tile.rows, shard.row_stride, transposed, bad_row);
    for (const Place& place : transposed)
      found.push_back({static_cast<std::uint32_t>(tile.first_row) + place.col, place.row});
    if (bad_row && (!first || bad_row->col + tile.first_row < first->row)) {
      first = Place{static_cast<std::uint32_t>(tile.first_row) + bad_row->col, bad_row->row};
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
  const std::vector<Tile> tiles = row_tiles(labels, tile_rows);
  std::vector<std::vector<Place>> found(tiles.size());
  std::vector<std::optional<Place>> bad(tiles.size());
  runner.run(static_cast<std::int64_t>(tiles.size()), [&](std::int64_t item, int) {
    const auto i = static_cast<std::size_t>(item);
    with_element_type(labels.dtype, [&](auto tag) {
      scan_tile<typename decltype(tag)::type>(tiles[i], labels.cols, found[i], bad[i]);
    });
  });
  for (const std::optional<Place>& place : bad) {
    if (place) throw BadValue("labels", place->row, place->col);
  }

  // Tiles come in row order and each class of a tile in row order, so a counting sort by class leaves the rows
  // ascending.
  Positives positives;
  positives.offset.assign(static_cast<std::size_t>(labels.cols) + 1, 0);
  for (const auto& places : found) {
    for (const Place& place : places) ++positives.offset[place.col + 1];
  }
  for (std::size_t c = 0; c + 1 < positives.offset.size(); ++c) positives.offset[c + 1] += positives.offset[c];
  positives.rows.resize(static_cast<std::size_t>(positives.offset.back()));
  std::vector<std::int64_t> next(positives.offset.begin(), positives.offset.end() - 1);
  for (const auto& places : found) {
    for (const Place& place : places) positives.rows[static_cast<std::size_t>(next[place.col]++)] = place.row;
  }
  return positives;
}

}  // namespace vltr::cpu
