// The tiles of rows in which a matrix is worked on.
#pragma once

#include "core/matrix.hpp"

namespace vltr::cpu {

// Rows are worked on in tiles: the unit of scheduling, of the buffers below it, and of the order in which a file is
// read.
struct Tile {
  const Shard* shard;
  std::int64_t first_row;
  std::int64_t rows;
};

inline std::vector<Tile> row_tiles(const Matrix& matrix, std::int64_t tile_rows) {
  std::vector<Tile> tiles;
  for (const Shard& shard : matrix.shards) {
    for (std::int64_t row = 0; row < shard.rows; row += tile_rows) {
      tiles.push_back({&shard, shard.first_row + row, std::min(tile_rows, shard.rows - row)});
    }
  }
  return tiles;
}

}  // namespace vltr::cpu
