#include "cpu/find_nan.hpp"

#include <optional>
#include <utility>

namespace vltr::cpu {

void throw_if_nan(const Matrix& scores, const Runner& runner) {
  const std::vector<Tile> tiles = row_tiles(scores, 1024);
  std::vector<std::optional<std::pair<std::int64_t, std::int64_t>>> found(tiles.size());
  runner.run(static_cast<std::int64_t>(tiles.size()), [&](std::int64_t item, int) {
    const Tile& tile = tiles[static_cast<std::size_t>(item)];
    with_element_type(scores.dtype, [&](auto tag) {
      for (std::int64_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
        for (std::int64_t col = 0; col < scores.cols; ++col) {
          const auto lane = to_lane(load_element<typename decltype(tag)::type>(tile.shard->at(row, col)));
          if (lane == lane) continue;
          found[static_cast<std::size_t>(item)] = std::make_pair(row, col);
          return;
        }
      }
    });
  });
  for (const auto& place : found) {
    if (place) throw BadValue("scores", place->first, place->second);
  }
}

}  // namespace vltr::cpu
