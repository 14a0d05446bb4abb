#include "cpu/find_nan.hpp"

#include <optional>
#include <utility>

namespace vltr::cpu {

void throw_if_nan(const Matrix& scores, const Runner& runner) {
  const Array<Tile> tiles = row_tiles(scores, 1024);
  Array<std::optional<std::pair<std::int64_t, std::int64_t>>> found(tiles.count());
  runner.run(tiles.count(), [&](std::int64_t item, int) {
    const Tile& tile = tiles[item];
    with_element_type(scores.dtype, [&](auto tag) {
      for (std::int64_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
        for (std::int64_t col = 0; col < scores.cols; ++col) {
          const auto lane = to_lane(load_element<typename decltype(tag)::type>(tile.shard->at(row, col)));
          if (lane == lane) continue;
          found[item] = std::make_pair(row, col);
          return;
        }
      }
    });
  });
  for (const auto& cell : found) {
    if (cell) throw BadValue("scores", cell->first, cell->second);
  }
}

}  // namespace vltr::cpu
