#include "cpu/rank_scan.hpp"

#include <cmath>
#include <optional>
#include <type_traits>

#include "cpu/draws.hpp"
#include "cpu/sample_columns.hpp"
#include "cpu/trial_average.hpp"

namespace vltr::cpu {
namespace {

// The table from the sorted scores of the positives and from the workers' buckets. Without workers fp and
// tied are those of no rows.
template <class Lane>
RankTable make_table(const Thresholds<Lane>& thresholds, const Positives& positives, const Array<Lane>& sorted,
                     const Array<RankScanWorker<Lane>>& workers, const Runner& runner) {
  RankTable table;
  table.offset = thresholds.offset;
  Array<Lane> descending(thresholds.keys.count());
  table.tp.resize(thresholds.keys.count());
  table.fp.resize(thresholds.keys.count());
  table.tied.resize(thresholds.keys.count());
  const std::int64_t step = items_per_step(thresholds.classes(), 32, runner.threads);
  runner.run((thresholds.classes() + step - 1) / step, [&](std::int64_t item, int) {
    const std::int64_t end_class = std::min(thresholds.classes(), (item + 1) * step);
    for (std::int64_t c = item * step; c < end_class; ++c) {
      const std::int64_t first = thresholds.offset[c];
      const std::int64_t end = thresholds.offset[c + 1];
      const Lane* const lowest = sorted.data() + positives.offset[c];
      const Lane* above = sorted.data() + positives.offset[c + 1];
      std::int64_t tp = 0;
      std::int64_t reach = 0;
      std::int64_t missing = 0;
      for (std::int64_t k = end; k-- > first;) {
        const std::int64_t to = first + end - 1 - k;
        const Lane key = thresholds.keys[k];
        for (; above != lowest && above[-1] > key; --above) ++missing;
        std::int64_t positives_equal = 0;
        for (; above != lowest && above[-1] == key; --above) ++positives_equal;
        std::int64_t equal = 0;
        for (const RankScanWorker<Lane>& worker : workers) {
          equal += worker.buckets[2 * k];
          reach += std::int64_t{worker.buckets[2 * k]} + worker.buckets[2 * k + 1];
        }
        tp += positives_equal;
        descending[to] = key;
        table.tp[to] = tp;
        table.fp[to] = reach - tp;
        table.tied[to] = equal - positives_equal;
      }
      if (missing != 0 || above != lowest) throw MissingThreshold(c);
    }
  });
  table.thresholds = std::move(descending);
  return table;
}

template <class Lane>
Thresholds<Lane> given_thresholds(const RankTable& given) {
  Thresholds<Lane> thresholds;
  thresholds.offset = given.offset;
  thresholds.keys = ascending_thresholds<Lane>(given);
  thresholds.build_trees();
  return thresholds;
}

// The score and class of the best label of each row. If scores are equal, the lower class is best, as in the ranking
// itself. 16 rows without labels follow the last one, so that a block of rows can be loaded whole.
template <class Lane>
struct BestLabels {
  Array<Lane> score;
  Array<std::int32_t> cls;

  BestLabels(std::int64_t rows, const Positives& positives, const Array<Lane>& scores)
      : score(rows + 16, unreachable<Lane>()), cls(rows + 16, -1) {
    for (std::int64_t c = 0; c < positives.classes(); ++c) {
      for (std::int64_t i = positives.offset[c]; i < positives.offset[c + 1]; ++i) {
        const std::uint32_t row = positives.rows[i];
        const Lane lane = scores[i];
        if (cls[row] >= 0 && lane <= score[row]) continue;
        score[row] = lane;
        cls[row] = static_cast<std::int32_t>(c);
      }
    }
  }
};

enum Phase : std::size_t { kGather, kSort, kDraw, kCount, kTable, kTrials };

// The costs are nanoseconds of one thread, roughly.
Phases phases_of(const Matrix& scores, const Positives& positives, std::int64_t trials, bool draw_in_pass,
                 const Runner& runner) {
  const auto cells = static_cast<double>(scores.rows) * static_cast<double>(scores.cols);
  const auto found = static_cast<double>(positives.rows.size());
  const double per_class = found / static_cast<double>(std::max<std::int64_t>(scores.cols, 1));
  const double levels = std::log2(2.0 + per_class);
  const double far =
      std::min(per_class, 150'000.0) / 1000.0;  // a read in a class's thresholds, if they exceed the caches
  double draws = 0.0;
  for (std::int64_t c = 0; trials > 0 && c < scores.cols; ++c) {
    draws += static_cast<double>(trials) * static_cast<double>(draws_per_trial(positives, scores.rows, c));
  }
  const double in_pass = draw_in_pass ? draws : 0.0;
  const double by_column = trials > 0 && !draw_in_pass ? 30.0 * cells : 0.0;
  return {runner,
          {5.0 * found, 4.0 * found * levels, 15.0 * in_pass, cells * (0.25 + 0.4 * levels + far), 5.0 * found,
           draws * (10.0 + far) + by_column}};
}

template <class T>
RankScanResult rank_scan_as(const Matrix& scores, const Positives& positives, const RankScanRequest& request,
                            const Runner& runner) {
  using Lane = LaneOf<T>;
  const bool draw_in_pass = request.trials > 0 && draws_fit_in_pass(scores, positives, request.trials);
  const Phases phases = phases_of(scores, positives, request.trials, draw_in_pass, runner);
  Array<Lane> sorted = positive_scores<Lane>(scores, positives, phases.phase(kGather));
  std::optional<BestLabels<Lane>> best;
  if (request.ranks) best.emplace(scores.rows, positives, sorted);
  sort_within_classes(positives, sorted, phases.phase(kSort));
  const Thresholds<Lane> thresholds =
      request.given == nullptr ? thresholds_of(positives, sorted) : given_thresholds<Lane>(*request.given);
  RankScanPlan<Lane> plan{};
  plan.thresholds = &thresholds;

  RankScanResult result;
  Array<std::atomic<std::int32_t>> rank;
  if (request.ranks) {
    rank = Array<std::atomic<std::int32_t>>(scores.rows);
    plan.best_score = best->score.data();
    plan.best_class = best->cls.data();
    plan.rank = rank.data();
  }

  const Array<Tile> tiles = row_tiles(scores, kTileRows);
  DrawPlan draws;
  if (draw_in_pass) {
    draws = plan_draws(positives, scores, tiles, request.trials, request.seed, phases.phase(kDraw));
    plan.draws = draws.draws.data();
    plan.draw_offset = draws.item_offset.data();
    plan.reached = draws.reached.data();
  }

  Array<RankScanWorker<Lane>> workers(std::max(runner.threads, 1));
  const std::int64_t ranges = col_ranges(scores.cols);
  const RankScanTile<Lane> rank_scan_tile = rank_scan_tile_kernel<T>();
  phases.phase(kCount).run(tiles.count() * ranges, [&](std::int64_t item, int id) {
    RankScanWorker<Lane>& worker = workers[id];
    if (worker.buckets.empty()) {
      worker.buckets.resize(2 * thresholds.keys.count() + 1);
      worker.survivors.resize(std::min<std::int64_t>(kStripCols, (scores.cols + 15) / 16 * 16) * (kTileRows + 16));
    }
    const std::int64_t first_col = item % ranges * kRangeCols;
    rank_scan_tile(plan, {tiles[item / ranges], item, first_col, std::min(scores.cols, first_col + kRangeCols)},
                   worker);
  });
  workers.erase(
      std::remove_if(workers.begin(), workers.end(), [](const auto& worker) { return worker.buckets.empty(); }),
      workers.end());
  RankScanWorker<Lane> first;
  for (const RankScanWorker<Lane>& worker : workers) {
    if (worker.nan_row >= 0) first.note_nan(worker.nan_row, worker.nan_col);
  }
  if (first.nan_row >= 0) throw BadValue("scores", first.nan_row, first.nan_col);

  result.table = make_table(thresholds, positives, sorted, workers, phases.phase(kTable));
  if (draw_in_pass) {
    result.trials = average_trials(result.table, scores.rows, request.trials, phases.phase(kTrials),
                                   [&](std::int64_t c, std::int64_t count, TrialAverage& average) {
                                     const std::uint32_t* reached = draws.reached.data() + draws.slot_offset[c];
                                     for (std::int64_t trial = 0; trial < request.trials; ++trial, reached += count) {
                                       average.add_trial(count, [reached](std::int64_t i) { return reached[i]; });
                                     }
                                   });
  } else if (request.trials > 0) {
    result.trials = sample_columns<T>(scores, positives, thresholds, result.table, request.trials, request.seed,
                                      phases.phase(kTrials));
  }
  if (request.ranks) {
    result.ranks.resize(rank.count());
    for (std::int64_t row = 0; row < rank.count(); ++row)
      result.ranks[row] = best->cls[row] < 0 ? -1 : rank[row].load(std::memory_order_relaxed);
  }
  return result;
}

}  // namespace

RankScanResult rank_scan(const Matrix& scores, const Positives& positives, const RankScanRequest& request,
                         const Runner& runner) {
  return with_element_type(scores.dtype, [&](auto tag) {
    return rank_scan_as<typename decltype(tag)::type>(scores, positives, request, runner);
  });
}

RankTable positive_scores(const Matrix& scores, const Positives& positives, const Runner& runner) {
  return with_element_type(scores.dtype, [&](auto tag) {
    using Lane = LaneOf<typename decltype(tag)::type>;
    Array<Lane> sorted = positive_scores<Lane>(scores, positives, runner);
    sort_within_classes(positives, sorted, runner);
    const Thresholds<Lane> thresholds = thresholds_of(positives, sorted);
    return make_table(thresholds, positives, sorted, {}, runner);
  });
}

}  // namespace vltr::cpu
