#include "cpu/draws.hpp"

namespace vltr::cpu {
namespace {

// The first class of each range of consecutive classes. The ranges, which are the unit of parallel work, have about
// the same number of draws.
Array<std::int64_t> class_ranges(const Offsets& slot_offset, std::int64_t ranges) {
  Array<std::int64_t> first{0};
  for (std::int64_t r = 1; r < ranges; ++r) {
    const std::int64_t target = slot_offset.back() / ranges * r;
    const auto found = std::lower_bound(slot_offset.begin(), slot_offset.end() - 1, target);
    first.push_back(std::max<std::int64_t>(first.back(), found - slot_offset.begin()));
  }
  first.push_back(slot_offset.lists());
  return first;
}

// The tile of a row. A table has the tiles at multiples of kTileRows; after a shard's end a few steps follow.
class TileOfRow {
 public:
  TileOfRow(std::int64_t rows, const Array<Tile>& tiles) {
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
  Array<std::int64_t> end_;
  Array<std::uint32_t> coarse_;
};

// Lists the draws of classes first .. end - 1.
void list_draws(const Positives& positives, std::int64_t rows, const UnknownCells* unknown, const Trials& trials,
                std::uint64_t seed, const Offsets& offset, std::int64_t first, std::int64_t end, std::uint32_t* out) {
  DrawLister lister(rows, seed);
  Array<std::uint32_t> scratch;
  for (std::int64_t c = first; c < end; ++c) {
    const auto draws = static_cast<std::uint32_t>(draws_per_trial(positives, class_rows(rows, unknown), c));
    if (draws == 0) continue;
    lister.list(excluded_rows(positives, unknown, c, scratch), draws, static_cast<std::uint32_t>(c), trials,
                out + offset.first(c));
  }
}

}  // namespace

std::int64_t draws_per_trial(const Positives& positives, const ClassRows& rows, std::int64_t c) {
  return draws_per_trial(positives.offset.length(c), rows[c] - positives.offset.length(c));
}

Offsets draw_offsets(const Positives& positives, const ClassRows& rows, const Trials& trials) {
  Offsets offset{0};
  for (std::int64_t c = 0; c < positives.classes(); ++c) {
    offset.push_back(offset.back() + trials.count * draws_per_trial(positives, rows, c));
  }
  return offset;
}

void DrawLister::list(Span<const std::uint32_t> excluded, std::uint32_t draws, std::uint32_t cls, const Trials& trials,
                      std::uint32_t* out) {
  const auto count = static_cast<std::uint32_t>(excluded.size());
  displaced_.resize(count);
  displaced_negatives(excluded.data(), count, rows_, displaced_.data());
  // One bit for all rows with the same lowest bits. Few negatives share a bit with an excluded row and are searched in
  // vain.
  constexpr std::size_t kBitsPerRow = 256;
  std::size_t bits = 1;
  while (bits < std::min<std::size_t>(rows_, kBitsPerRow * count)) bits *= 2;
  may_be_excluded_.assign(bits, false);
  for (const std::uint32_t row : excluded) may_be_excluded_[row & (bits - 1)] = true;
  KeyedPermutation permutation = permutation_grid(rows_ - count);
  for (std::int64_t trial = trials.first; trial < trials.first + trials.count; ++trial, out += draws) {
    set_keys(permutation, seed_, cls, static_cast<std::uint32_t>(trial));
    draw_numbers_(permutation, draws, out);
    for (std::uint32_t i = 0; i < draws; ++i) {
      if (may_be_excluded_[out[i] & (bits - 1)]) {
        out[i] = row_of_negative(excluded.data(), count, displaced_.data(), out[i]);
      }
    }
  }
}

void draw_rows(const Positives& positives, std::int64_t rows, const UnknownCells* unknown, const Trials& trials,
               std::uint64_t seed, const Offsets& offset, std::uint32_t* out, const Runner& runner) {
  constexpr std::int64_t kDrawsPerItem = 1 << 16;
  const Array<std::int64_t> range =
      class_ranges(offset, std::max<std::int64_t>(1, std::min(offset.back() / kDrawsPerItem, offset.lists())));
  runner.run(range.count() - 1, [&](std::int64_t item, int) {
    list_draws(positives, rows, unknown, trials, seed, offset, range[item], range[item + 1], out);
  });
}

DrawPlan plan_draws(const Positives& positives, const Matrix& scores, const Array<Tile>& tiles, std::int64_t trials,
                    std::uint64_t seed, const Runner& runner) {
  DrawPlan plan;
  const Trials all{0, trials};
  plan.slot_offset = draw_offsets(positives, class_rows(scores), all);
  const std::int64_t total = plan.slot_offset.back();
  plan.reached.resize(total);
  plan.draws.resize(total);
  std::uint32_t* const rows = plan.reached.data();  // before the rank scan, `reached` holds the drawn rows

  const Array<std::int64_t> range = class_ranges(
      plan.slot_offset, std::max<std::int64_t>(1, std::min<std::int64_t>(8 * runner.threads, scores.cols)));
  const std::int64_t ranges = range.count() - 1;
  const std::int64_t col_range_count = col_ranges(scores.cols);
  const std::int64_t items = tiles.count() * col_range_count;
  const TileOfRow tile_of_row(scores.rows, tiles);
  Array<Array<std::int64_t>> next(ranges, Array<std::int64_t>(items, 0));
  constexpr double kListing = 0.7;  // of the work
  runner.share(0.0, kListing).run(ranges, [&](std::int64_t item, int) {
    const std::int64_t first = range[item];
    const std::int64_t end = range[item + 1];
    list_draws(positives, scores.rows, scores.unknown, all, seed, plan.slot_offset, first, end, rows);
    auto& count = next[item];
    for (std::int64_t c = first; c < end; ++c) {
      std::int64_t* const class_count = count.data() + c / kRangeCols;
      for (std::int64_t slot = plan.slot_offset[c]; slot < plan.slot_offset[c + 1]; ++slot) {
        ++class_count[tile_of_row(rows[slot]) * col_range_count];
      }
    }
  });

  std::int64_t next_draw = 0;
  for (std::int64_t i = 0; i < items; ++i) {
    plan.item_offset.push_back(next_draw);
    for (auto& count : next) {
      const std::int64_t draws = count[i];
      count[i] = next_draw;
      next_draw += draws;
    }
  }
  plan.item_offset.push_back(next_draw);
  runner.share(kListing, 1.0).run(ranges, [&](std::int64_t item, int) {
    auto& write = next[item];
    for (std::int64_t c = range[item]; c < range[item + 1]; ++c) {
      for (std::int64_t slot = plan.slot_offset[c]; slot < plan.slot_offset[c + 1]; ++slot) {
        const std::int64_t tile = tile_of_row(rows[slot]);
        Draw& draw = plan.draws.data()[write[tile * col_range_count + c / kRangeCols]++];
        draw.slot = static_cast<std::uint32_t>(slot);
        draw.row = static_cast<std::uint16_t>(rows[slot] - tiles[tile].first_row);
        draw.col = static_cast<std::uint16_t>(c % kRangeCols);
      }
    }
  });
  return plan;
}

}  // namespace vltr::cpu
