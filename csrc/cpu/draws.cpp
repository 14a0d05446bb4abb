#include "cpu/draws.hpp"

namespace vltr::cpu {
namespace {

// Consecutive classes with about the same number of draws together: the unit of parallel planning.
std::vector<std::int64_t> class_ranges(const std::vector<std::int64_t>& slot_offset, std::int64_t ranges) {
  std::vector<std::int64_t> first{0};
  for (std::int64_t r = 1; r < ranges; ++r) {
    const std::int64_t target = slot_offset.back() / ranges * r;
    const auto place = std::lower_bound(slot_offset.begin(), slot_offset.end() - 1, target);
    first.push_back(std::max<std::int64_t>(first.back(), place - slot_offset.begin()));
  }
  first.push_back(static_cast<std::int64_t>(slot_offset.size()) - 1);
  return first;
}

// Tile of a row: a table of the tiles at multiples of kTileRows, and a step or two where shards end in between.
class TileOfRow {
 public:
  TileOfRow(std::int64_t rows, const std::vector<Tile>& tiles) {
    for (const Tile& tile : tiles) end_.push_back(tile.first_row + tile.rows);
    std::uint32_t tile = 0;
    for (std::int64_t row = 0; row < rows; row += kTileRows) {
      while (end_[tile] <= row) ++tile;
      coarse_.push_back(tile);
    }
  }
  std::uint32_t operator()(std::uint32_t row) const {
    std::uint32_t tile = coarse_[row / kTileRows];
    while (end_[tile] <= row) ++tile;
    return tile;
  }

 private:
  std::vector<std::int64_t> end_;
  std::vector<std::uint32_t> coarse_;
};

}  // namespace

std::int64_t draws_per_trial(const Positives& positives, std::int64_t rows, std::int64_t c) {
  const std::int64_t count =
      positives.offset[static_cast<std::size_t>(c) + 1] - positives.offset[static_cast<std::size_t>(c)];
  return count < rows - count ? count : 0;
}

DrawPlan plan_draws(const Positives& positives, const Matrix& scores, const std::vector<Tile>& tiles, int trials,
                    std::uint64_t seed, const Runner& runner) {
  DrawPlan plan;
  plan.slot_offset.push_back(0);
  for (std::int64_t c = 0; c < scores.cols; ++c) {
    plan.slot_offset.push_back(plan.slot_offset.back() + trials * draws_per_trial(positives, scores.rows, c));
  }
  const std::int64_t total = plan.slot_offset.back();
  plan.reached.resize(total);
  plan.draws.resize(total);
  std::uint32_t* const rows = plan.reached.data();  // until the scan, `reached` holds the drawn rows

  const std::vector<std::int64_t> range = class_ranges(
      plan.slot_offset, std::max<std::int64_t>(1, std::min<std::int64_t>(8 * runner.threads, scores.cols)));
  const auto ranges = static_cast<std::int64_t>(range.size()) - 1;
  const std::int64_t col_range_count = col_ranges(scores.cols);
  const std::size_t items = tiles.size() * static_cast<std::size_t>(col_range_count);
  const TileOfRow tile_of_row(scores.rows, tiles);
  const DrawNumbers draw_numbers = draw_numbers_kernel();
  std::vector<std::vector<std::int64_t>> next(static_cast<std::size_t>(ranges), std::vector<std::int64_t>(items, 0));
  runner.run(ranges, [&](std::int64_t item, int) {
    auto& count = next[static_cast<std::size_t>(item)];
    std::vector<bool> positive(static_cast<std::size_t>(scores.rows));
    std::vector<std::uint32_t> displaced;
    for (std::int64_t c = range[static_cast<std::size_t>(item)]; c < range[static_cast<std::size_t>(item) + 1]; ++c) {
      const auto draws = static_cast<std::uint32_t>(draws_per_trial(positives, scores.rows, c));
      if (draws == 0) continue;
      const std::uint32_t* own = positives.rows.data() + positives.offset[static_cast<std::size_t>(c)];
      displaced.resize(draws);
      displaced_negatives(own, draws, static_cast<std::uint32_t>(scores.rows), displaced.data());
      for (std::uint32_t i = 0; i < draws; ++i) positive[own[i]] = true;
      std::uint32_t* row = rows + plan.slot_offset[static_cast<std::size_t>(c)];
      KeyedPermutation permutation = permutation_grid(static_cast<std::uint32_t>(scores.rows) - draws);
      std::int64_t* const class_count = count.data() + c / kRangeCols;
      for (int trial = 0; trial < trials; ++trial, row += draws) {
        set_keys(permutation, seed, static_cast<std::uint32_t>(c), static_cast<std::uint32_t>(trial));
        draw_numbers(permutation, draws, row);
        for (std::uint32_t i = 0; i < draws; ++i) {
          if (positive[row[i]]) row[i] = row_of_negative(own, draws, displaced.data(), row[i]);
          ++class_count[tile_of_row(row[i]) * col_range_count];
        }
      }
      for (std::uint32_t i = 0; i < draws; ++i) positive[own[i]] = false;
    }
  });

  std::int64_t place = 0;
  for (std::size_t i = 0; i < items; ++i) {
    plan.item_offset.push_back(place);
    for (auto& count : next) {
      const std::int64_t draws = count[i];
      count[i] = place;
      place += draws;
    }
  }
  plan.item_offset.push_back(place);
  runner.run(ranges, [&](std::int64_t item, int) {
    auto& write = next[static_cast<std::size_t>(item)];
    for (std::int64_t c = range[static_cast<std::size_t>(item)]; c < range[static_cast<std::size_t>(item) + 1]; ++c) {
      for (std::int64_t slot = plan.slot_offset[static_cast<std::size_t>(c)];
           slot < plan.slot_offset[static_cast<std::size_t>(c) + 1]; ++slot) {
        const std::int64_t tile = tile_of_row(rows[slot]);
        Draw& draw = plan.draws.data()[static_cast<std::size_t>(
            write[static_cast<std::size_t>(tile * col_range_count + c / kRangeCols)]++)];
        draw.slot = static_cast<std::uint32_t>(slot);
        draw.row = static_cast<std::uint16_t>(rows[slot] - tiles[static_cast<std::size_t>(tile)].first_row);
        draw.col = static_cast<std::uint16_t>(c % kRangeCols);
      }
    }
  });
  return plan;
}

}  // namespace vltr::cpu
