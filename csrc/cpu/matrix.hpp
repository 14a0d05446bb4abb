// Tiles: the blocks of rows in which a matrix is processed.
#pragma once

#include "core/matrix.hpp"
#include "core/span.hpp"

namespace vltr::cpu {

// A tile is the unit of scheduling, of the buffers of a worker, and of the order in which a mapped file is read.
struct Tile {
  const Shard* shard;
  std::int64_t first_row;
  std::int64_t rows;
};

inline Array<Tile> row_tiles(const Matrix& matrix, std::int64_t tile_rows) {
  Array<Tile> tiles;
  for (const Shard& shard : matrix.shards) {
    for (std::int64_t row = 0; row < shard.rows; row += tile_rows) {
      tiles.push_back({&shard, shard.first_row + row, std::min(tile_rows, shard.rows - row)});
    }
  }
  return tiles;
}

}  // namespace vltr::cpu
