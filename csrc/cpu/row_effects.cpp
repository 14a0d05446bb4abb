#include "cpu/row_effects.hpp"

#include <stdexcept>

#include "cpu/class_path.hpp"
#include "cpu/row_effects_tile.hpp"

namespace vltr::cpu {
namespace {

// Low enough for several tiles per thread, because a tile is done by one thread in all classes.
std::int64_t tile_rows(std::int64_t rows, int threads) {
  const std::int64_t share = rows / (8 * std::max(threads, 1)) / 16 * 16;
  return std::clamp<std::int64_t>(share, 64, kTileRows);
}

template <class T>
void add_rows(const Matrix& scores, const Positives& positives, const RankTable& table, const EffectTables& tables,
              Span<const std::int64_t> groups, std::int64_t num_groups, const Runner& runner, std::int64_t* out) {
  using Lane = LaneOf<T>;
  const Thresholds<Lane> thresholds = thresholds_of<Lane>(table, search_all(scores.cols).searched);
  const std::int64_t width = tables.width;
  const std::int64_t metrics = tables.metrics;
  Array<std::int64_t> base(num_groups * metrics);
  for (std::int64_t c = 0; c < scores.cols; ++c) {
    if (thresholds.count(c) == 0 && positives.offset.length(c) > 0) throw_other_table();
    for (std::int64_t m = 0; m < metrics; ++m) base[groups[c] * metrics + m] += tables.base[c * width + m];
  }
  const EffectPlan<Lane> plan{&thresholds, &tables, &positives, groups.data(), num_groups};
  const EffectTile<Lane> effect_tile = effect_tile_kernel<T>();
  const Array<Tile> tiles = row_tiles(scores, tile_rows(scores.rows, runner.threads));
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
    effect_tile(plan, tile, scores.cols, worker);
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
