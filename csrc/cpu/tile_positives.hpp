// Where the positives of each class are among the tiles.
#pragma once

#include "cpu/positives.hpp"

namespace vltr::cpu {

// (tiles + 1, C): the number, in positives.rows, of the first positive of each class whose row is in the tile or after
// it. Tiles ascend, and have first_row and rows.
template <class Tile>
Array<std::int64_t> first_positives(const Positives& positives, const Array<Tile>& tiles, const Runner& caller) {
  const std::int64_t classes = positives.classes();
  Array<std::int64_t> first((tiles.count() + 1) * classes);
  const Runner runner = caller.for_cost(2.0 * static_cast<double>(first.count() + positives.rows.count()));
  const std::int64_t step = items_per_step(classes, 64, runner.threads);
  runner.run((classes + step - 1) / step, [&](std::int64_t item, int) {
    for (std::int64_t c = item * step; c < std::min(classes, (item + 1) * step); ++c) {
      std::int64_t next = positives.offset.first(c);
      for (std::int64_t t = 0; t < tiles.count(); ++t) {
        first[t * classes + c] = next;
        const std::int64_t end_row = tiles[t].first_row + tiles[t].rows;
        while (next < positives.offset[c + 1] && positives.rows[next] < end_row) ++next;
      }
      first[tiles.count() * classes + c] = next;
    }
  });
  return first;
}

}  // namespace vltr::cpu
