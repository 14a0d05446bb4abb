#include "cpu/row_effects.hpp"

#include <stdexcept>

#include "cpu/class_path.hpp"
#include "cpu/row_effects_tile.hpp"
#include "cpu/tile_positives.hpp"

namespace vltr::cpu {
namespace {

// Low enough for several tiles per thread, because a tile is done by one thread in all classes.
std::int64_t tile_rows(std::int64_t rows, int threads) {
  const std::int64_t share = rows / (8 * std::max(threads, 1)) / 16 * 16;
  return std::clamp<std::int64_t>(share, 64, kTileRows);
}

// The entries of negatives above thresholds, and what the entries of positives have more than these.
struct TileEntries {
  LargeArray<std::int64_t> above;
  LargeArray<std::int64_t> correction;
};

TileEntries tile_entries(const EffectTables& tables, std::int64_t keys) {
  TileEntries entries;
  entries.above.resize(keys * tables.width);
  entries.correction.resize(keys * tables.width);
  for (std::int64_t k = 0; k < keys; ++k) {
    const std::int64_t* const above = tables.negative.data() + (2 * k + 1) * tables.width;
    const std::int64_t* const positive = tables.positive.data() + k * tables.width;
    for (std::int64_t w = 0; w < tables.width; ++w) {
      entries.above.data()[k * tables.width + w] = above[w];
      entries.correction.data()[k * tables.width + w] = positive[w] - above[w];
    }
  }
  return entries;
}

// True if a negative that equals a threshold may have another effect than one above it.
bool ties_differ(const EffectTables& tables, const LargeArray<std::int64_t>& above) {
  for (std::int64_t i = 0; i < above.count(); i += tables.width) {
    const std::int64_t* const equal = tables.negative.data() + 2 * i;
    if (!std::equal(equal, equal + tables.width, above.data() + i)) return true;
  }
  return false;
}

template <class T>
void add_rows(const Matrix& scores, const Positives& positives, const RankTable& table, const EffectTables& tables,
              Span<const std::int64_t> groups, std::int64_t num_groups, const Runner& caller, std::int64_t* out) {
  using Lane = LaneOf<T>;
  const Thresholds<Lane> thresholds = thresholds_of<Lane>(table, search_all(scores.cols).searched);
  const std::int64_t width = tables.width;
  const std::int64_t metrics = tables.metrics;
  Array<std::int64_t> base(num_groups * metrics);
  Array<BaseOf> base_of(scores.unknown == nullptr ? 0 : scores.cols);
  for (std::int64_t c = 0; c < scores.cols; ++c) {
    if (thresholds.count(c) == 0 && positives.offset.length(c) > 0) throw_other_table();
    if (scores.unknown != nullptr) {
      const std::int64_t unknown = unknown_count(scores.unknown, c);
      base_of[c] = unknown == 0 ? BaseOf::kAllKnown : 2 * unknown <= scores.rows ? BaseOf::kAllRows : BaseOf::kNoRow;
      if (base_of[c] == BaseOf::kNoRow) continue;
    }
    for (std::int64_t m = 0; m < metrics; ++m) base[groups[c] * metrics + m] += tables.base[c * width + m];
  }
  const TileEntries entries = tile_entries(tables, thresholds.keys.count());
  const Array<Tile> tiles = row_tiles(scores, tile_rows(scores.rows, caller.threads));
  const Array<std::int64_t> first_positive = first_positives(positives, tiles, caller.share(0.0, 0.02));
  const Runner runner = caller.share(0.02, 1.0);
  const EffectPlan<Lane> plan{&thresholds,
                              &tables,
                              entries.above.data(),
                              entries.correction.data(),
                              ties_differ(tables, entries.above),
                              &positives,
                              first_positive.data(),
                              groups.data(),
                              KnownRows(scores),
                              scores.unknown == nullptr ? nullptr : base_of.data()};
  const EffectTile<Lane> effect_tile = effect_tile_kernel<T>();
  Array<EffectWorker<Lane>> workers(std::max(runner.threads, 1));
  runner.run(tiles.count(), [&](std::int64_t item, int id) {
    EffectWorker<Lane>& worker = workers[id];
    if (worker.survivors.data() == nullptr) {
      worker.sums.resize(num_groups * kTileRows * width);
      worker.survivors.resize(kStripCols * (kTileRows + 16));
      worker.rows.resize(kStripCols * (kTileRows + 16));
    }
    const Tile& tile = tiles[item];
    for (std::int64_t g = 0; g < num_groups; ++g) {
      std::int64_t* const sums = worker.sums.data() + g * kTileRows * width;
      std::fill(sums, sums + tile.rows * width, 0);
    }
    effect_tile(plan, tile, item, scores.cols, worker);
    std::int64_t* to = out + tile.first_row * num_groups * metrics;
    for (std::int64_t row = 0; row < tile.rows; ++row) {
      for (std::int64_t g = 0; g < num_groups; ++g) {
        const std::int64_t* const sums = worker.sums.data() + (g * kTileRows + row) * width;
        for (std::int64_t m = 0; m < metrics; ++m) *to++ = base[g * metrics + m] + sums[m];
      }
    }
  });
  throw_first_nan(workers);
  for (const EffectWorker<Lane>& worker : workers) {
    if (worker.has_stranger) throw_other_table();
  }
}

}  // namespace

void throw_other_table() {
  throw std::invalid_argument("table: expected the rank table of these scores and positives, got another");
}

RowEffects row_effects(const Matrix& scores, const Positives& positives, const ScoredTable& table,
                       Span<const std::int64_t> groups, std::int64_t num_groups, Span<const EffectMetric> metrics,
                       double prevalence, const Runner& runner) {
  const auto keys = static_cast<double>(table.columns.offset[scores.cols]);
  const auto cells = static_cast<double>(scores.rows) * static_cast<double>(scores.cols);
  const Phases phases(runner, {200.0 * keys, 4.0 * cells});
  const EffectTables tables = effect_tables(table.columns, metrics, prevalence, phases.phase(0));
  RowEffects effects;
  effects.exponents = tables.exponents;
  effects.sums.resize(scores.rows * num_groups * metrics.count());
  with_element_type(scores.dtype, [&](auto tag) {
    add_rows<typename decltype(tag)::type>(scores, positives, *table.thresholds, tables, groups, num_groups,
                                           phases.phase(1), effects.sums.data());
  });
  return effects;
}

}  // namespace vltr::cpu
