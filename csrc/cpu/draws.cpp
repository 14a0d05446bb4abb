#include "cpu/draws.hpp"

namespace vltr::cpu {
namespace {

// Consecutive classes with about the same number of draws together: the unit of parallel work.
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

// Lists the draws of the classes from `first` to before `end`.
void list_draws(const Positives& positives, std::int64_t rows, const Trials& trials, std::uint64_t seed,
                const std::vector<std::int64_t>& offset, std::int64_t first, std::int64_t end, std::uint32_t* out) {
  DrawLister lister(rows, seed);
  for (std::int64_t c = first; c < end; ++c) {
    const auto draws = static_cast<std::uint32_t>(draws_per_trial(positives, rows, c));
    if (draws == 0) continue;
    lister.list(positives.rows.data() + positives.offset[static_cast<std::size_t>(c)], draws,
                static_cast<std::uint32_t>(c), trials, out + offset[static_cast<std::size_t>(c)]);
  }
}

}  // namespace

std::int64_t draws_per_trial(const Positives& positives, std::int64_t rows, std::int64_t c) {
  return draws_per_trial(
      positives.offset[static_cast<std::size_t>(c) + 1] - positives.offset[static_cast<std::size_t>(c)], rows);
}

std::vector<std::int64_t> draw_offsets(const Positives& positives, std::int64_t rows, const Trials& trials) {
  std::vector<std::int64_t> offset{0};
  for (std::size_t c = 0; c + 1 < positives.offset.size(); ++c) {
    offset.push_back(offset.back() + trials.count * draws_per_trial(positives, rows, static_cast<std::int64_t>(c)));
  }
  return offset;
}

void DrawLister::list(const std::uint32_t* positives, std::uint32_t count, std::uint32_t cls, const Trials& trials,
                      std::uint32_t* out) {
  displaced_.resize(count);
  displaced_negatives(positives, count, rows_, displaced_.data());
  // A bit for all rows that share their lowest bits: few negatives share it with a positive, and are looked up in vain.
  constexpr std::size_t kBitsPerPositive = 256;
  std::size_t bits = 1;
  while (bits < std::min<std::size_t>(rows_, kBitsPerPositive * count)) bits *= 2;
  may_be_positive_.assign(bits, false);
  for (std::uint32_t i = 0; i < count; ++i) may_be_positive_[positives[i] & (bits - 1)] = true;
  KeyedPermutation permutation = permutation_grid(rows_ - count);
  for (std::int64_t trial = trials.first; trial < trials.first + trials.count; ++trial, out += count) {
    set_keys(permutation, seed_, cls, static_cast<std::uint32_t>(trial));
    draw_numbers_(permutation, count, out);
    for (std::uint32_t i = 0; i < count; ++i) {
      if (may_be_positive_[out[i] & (bits - 1)]) out[i] = row_of_negative(positives, count, displaced_.data(), out[i]);
    }
  }
}

void draw_rows(const Positives& positives, std::int64_t rows, const Trials& trials, std::uint64_t seed,
               const std::vector<std::int64_t>& offset, std::uint32_t* out, const Runner& runner) {
  constexpr std::int64_t kDrawsPerItem = 1 << 16;
  const std::vector<std::int64_t> range = class_ranges(
      offset,
      std::max<std::int64_t>(1, std::min(offset.back() / kDrawsPerItem, static_cast<std::int64_t>(offset.size()) - 1)));
  runner.run(static_cast<std::int64_t>(range.size()) - 1, [&](std::int64_t item, int) {
    list_draws(positives, rows, trials, seed, offset, range[static_cast<std::size_t>(item)],
               range[static_cast<std::size_t>(item) + 1], out);
  });
}

DrawPlan plan_draws(const Positives& positives, const Matrix& scores, const std::vector<Tile>& tiles, int trials,
                    std::uint64_t seed, const Runner& runner) {
  DrawPlan plan;
  const Trials all{0, trials};
  plan.slot_offset = draw_offsets(positives, scores.rows, all);
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
  std::vector<std::vector<std::int64_t>> next(static_cast<std::size_t>(ranges), std::vector<std::int64_t>(items, 0));
  constexpr double kListing = 0.7;  // of the work
  runner.part(0.0, kListing).run(ranges, [&](std::int64_t item, int) {
    const std::int64_t first = range[static_cast<std::size_t>(item)];
    const std::int64_t end = range[static_cast<std::size_t>(item) + 1];
    list_draws(positives, scores.rows, all, seed, plan.slot_offset, first, end, rows);
    auto& count = next[static_cast<std::size_t>(item)];
    for (std::int64_t c = first; c < end; ++c) {
      std::int64_t* const class_count = count.data() + c / kRangeCols;
      for (std::int64_t slot = plan.slot_offset[static_cast<std::size_t>(c)];
           slot < plan.slot_offset[static_cast<std::size_t>(c) + 1]; ++slot) {
        ++class_count[tile_of_row(rows[slot]) * col_range_count];
      }
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
  runner.part(kListing, 1.0).run(ranges, [&](std::int64_t item, int) {
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
