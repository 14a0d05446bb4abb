#include "cpu/rank_scan.hpp"

#include <cmath>
#include <optional>
#include <type_traits>

#include "core/sap_core.hpp"
#include "cpu/class_path.hpp"
#include "cpu/dense_classes.hpp"
#include "cpu/draws.hpp"
#include "cpu/find_nan.hpp"
#include "cpu/sample_columns.hpp"
#include "cpu/trial_average.hpp"

namespace vltr::cpu {
namespace {

// The table from the sorted scores of the positives and from the workers' buckets. Without workers fp and
// tied are those of no rows. Class c begins at element slot[c] of the columns.
template <class Lane>
RankTable make_table(const Thresholds<Lane>& thresholds, const Offsets& slot, const Positives& positives,
                     const Array<Lane>& sorted, const Array<RankScanWorker<Lane>>& workers, const Runner& runner) {
  RankTable table;
  table.offset = slot;
  TableColumn<Lane> descending(slot.back());
  table.tp.resize(slot.back());
  table.fp.resize(slot.back());
  table.tied.resize(slot.back());
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
        const std::int64_t to = slot[c] + end - 1 - k;
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

// The first element of each class in the columns of a table, before the thresholds of sorted classes are known. Such a
// class gets one element for each positive, or none if no table is made of it.
Offsets slots_of(const ClassPaths& paths, const Offsets& searched, const Positives& positives, bool table) {
  Offsets slot{0};
  auto sorted = paths.sorted.begin();
  for (std::int64_t c = 0; c < positives.classes(); ++c) {
    std::int64_t count = searched.length(c);
    if (sorted != paths.sorted.end() && *sorted == c) {
      ++sorted;
      count = table ? positives.offset.length(c) : 0;
    }
    slot.push_back(slot.back() + count);
  }
  return slot;
}

// Removes the gaps of the columns. Class c has counts[c] thresholds from its offset on.
template <class Lane>
void close_gaps(RankTable& table, const Array<std::int64_t>& counts) {
  std::int64_t to = 0;
  for (std::int64_t c = 0; c < counts.count(); ++c) {
    move_thresholds<Lane>(table, table.offset[c], counts[c], to);
    table.offset[c] = to;
    to += counts[c];
  }
  table.offset.back() = to;
  std::get<TableColumn<Lane>>(table.thresholds).resize(to);
  for (auto* column : {&table.tp, &table.fp, &table.tied}) column->resize(to);
}

double metric_of(ClassMetric metric, const RankTable& table, std::int64_t c, const ClassRows& rows) {
  const std::int64_t first = table.offset.first(c);
  const std::int64_t count = table.offset.length(c);
  const std::int64_t* const tp = table.tp.data() + first;
  const std::int64_t* const fp = table.fp.data() + first;
  const std::int64_t negatives = rows[c] - (count == 0 ? 0 : tp[count - 1]);
  switch (metric) {
    case ClassMetric::kAveragePrecision:
      return average_precision(tp, fp, count);
    case ClassMetric::kRocAuc:
      return roc_auc(tp, fp, table.tied.data() + first, count, negatives);
    default:
      return expected_sampled_average_precision(tp, fp, count, negatives);
  }
}

enum Phase : std::size_t {
  kGather,
  kSort,
  kDraw,
  kCount,
  kTable,
  kSortedClasses,
  kMetric,
  kInPassTrials,
  kColumnTrials
};

// The costs are nanoseconds of one thread, roughly.
Phases phases_of(const Matrix& scores, const Positives& positives, const Positives& searched, const ClassPaths& paths,
                 const RankScanRequest& request, bool draw_in_pass, const Runner& runner) {
  const auto rows = static_cast<double>(scores.rows);
  const auto classes = static_cast<double>(paths.searched.count());
  const auto found = static_cast<double>(searched.rows.count());
  const double per_class = found / std::max(classes, 1.0);
  const double levels = std::log2(2.0 + per_class);
  const double far =
      std::min(per_class, 150'000.0) / 1000.0;  // a read in a class's thresholds, if they exceed the caches
  const auto draws_of = [&](const Array<std::int64_t>& list) {
    double draws = 0.0;
    for (const std::int64_t c : list) draws += static_cast<double>(draws_per_trial(positives, class_rows(scores), c));
    return draws * static_cast<double>(request.trials);
  };
  const auto sorted = static_cast<double>(paths.sorted.count());
  const double all_cells = 0.25 * rows * static_cast<double>(scores.cols);
  const double gathered = 5.0 * static_cast<double>(request.ranks ? positives.rows.count() : searched.rows.count());
  const double in_pass = draw_in_pass ? draws_of(paths.searched) : 0.0;
  const double by_column =
      request.trials == 0 ? 0.0
      : draw_in_pass ? 15.0 * rows * sorted + 3.0 * draws_of(paths.sorted)
                     : 30.0 * rows * (classes + sorted) + 8.0 * draws_of(paths.searched) + 3.0 * draws_of(paths.sorted);
  return {
      runner,
      {gathered, 4.0 * found * levels, 15.0 * in_pass, all_cells + rows * classes * (0.4 * levels + far), 5.0 * found,
       10.0 * rows * sorted, request.metric == ClassMetric::kNone ? 0.0 : 15.0 * found, 10.0 * in_pass, by_column}};
}

template <class T>
RankScanResult rank_scan_as(const Matrix& scores, const Positives& positives, const RankScanRequest& request,
                            const Runner& runner) {
  using Lane = LaneOf<T>;
  const ClassPaths paths = request.given == nullptr ? class_paths(positives, scores.rows) : search_all(scores.cols);
  std::optional<OwnedPositives> some;
  if (!paths.sorted.empty()) some.emplace(only(positives, paths.searched));
  const Positives& searched = some ? *some : positives;
  const bool draw_in_pass = request.trials > 0 && draws_fit_in_pass(scores, searched, request.trials);
  const Phases phases = phases_of(scores, positives, searched, paths, request, draw_in_pass, runner);
  Array<Lane> sorted = positive_scores<Lane>(scores, searched, phases.phase(kGather));
  const bool rank_classes = request.ranks && scores.cols > 1;
  std::optional<BestLabels<Lane>> best;
  if (rank_classes && paths.sorted.empty()) {
    best.emplace(scores.rows, positives, sorted);
  } else if (rank_classes) {
    best.emplace(scores.rows, positives, positive_scores<Lane>(scores, positives, phases.phase(kGather)));
  }
  sort_within_classes(searched, sorted, phases.phase(kSort));
  const Thresholds<Lane> thresholds =
      request.given == nullptr ? thresholds_of(searched, sorted) : given_thresholds<Lane>(*request.given);
  RankScanPlan<Lane> plan{};
  plan.thresholds = &thresholds;
  plan.known = KnownRows(scores);

  RankScanResult result;
  Array<std::atomic<std::int32_t>> rank;
  if (rank_classes) {
    rank = Array<std::atomic<std::int32_t>>(scores.rows);
    plan.best_score = best->score.data();
    plan.best_class = best->cls.data();
    plan.rank = rank.data();
  }

  const Array<Tile> tiles = row_tiles(scores, kTileRows);
  DrawPlan draws;
  if (draw_in_pass) {
    draws = plan_draws(searched, scores, tiles, request.trials, request.seed, phases.phase(kDraw));
    plan.draws = draws.draws.data();
    plan.draw_offset = draws.item_offset.data();
    plan.reached = draws.reached.data();
  }

  // If all classes are sorted, only ranks need this pass.
  Array<RankScanWorker<Lane>> workers(std::max(runner.threads, 1));
  const std::int64_t ranges = paths.searched.empty() && !rank_classes ? 0 : col_ranges(scores.cols);
  const RankScanTile<Lane> rank_scan_tile = rank_scan_tile_kernel<T>();
  phases.phase(kCount).run(tiles.count() * ranges, [&](std::int64_t item, int id) {
    RankScanWorker<Lane>& worker = workers[id];
    if (worker.buckets.empty()) {
      worker.buckets.resize(2 * thresholds.keys.count() + 1);
      worker.survivors.resize(std::min<std::int64_t>(kStripCols, (scores.cols + 15) / 16 * 16) * (kTileRows + 16));
      if (!plan.known.all()) worker.known.resize(kStripCols);
    }
    const std::int64_t first_col = item % ranges * kRangeCols;
    rank_scan_tile(plan, {tiles[item / ranges], item, first_col, std::min(scores.cols, first_col + kRangeCols)},
                   worker);
  });
  workers.erase(
      std::remove_if(workers.begin(), workers.end(), [](const auto& worker) { return worker.buckets.empty(); }),
      workers.end());
  throw_first_nan(workers);

  const bool table = request.metric == ClassMetric::kNone;
  const Offsets slot = slots_of(paths, thresholds.offset, positives, table);
  result.table = make_table(thresholds, slot, searched, sorted, workers, phases.phase(kTable));
  if (!table) result.metric.resize(scores.cols);
  if (!paths.sorted.empty()) {
    Array<std::int64_t> counts(scores.cols);
    for (std::int64_t c = 0; c < scores.cols; ++c) counts[c] = thresholds.count(c);
    if (!scan_dense_classes<T>(scores, positives, paths.sorted, request.metric, slot, result.table, counts,
                               result.metric, phases.phase(kSortedClasses))) {
      throw_if_nan(scores, runner);
      throw ScoresChanged();
    }
    close_gaps<Lane>(result.table, counts);
  }
  if (!table) {
    phases.phase(kMetric).run(paths.searched.count(), [&](std::int64_t i, int) {
      const std::int64_t c = paths.searched[i];
      result.metric[c] = metric_of(request.metric, result.table, c, class_rows(scores));
    });
    result.table = {};
  }

  if (request.trials > 0) {
    result.trials.resize(request.trials * scores.cols);
    double* const trials = result.trials.data();
    if (draw_in_pass) {
      average_trials(result.table, class_rows(scores), paths.searched, request.trials, trials,
                     phases.phase(kInPassTrials), [&](std::int64_t c, std::int64_t count, TrialAverage& average) {
                       const std::uint32_t* reached = draws.reached.data() + draws.slot_offset[c];
                       for (std::int64_t trial = 0; trial < request.trials; ++trial, reached += count) {
                         average.add_trial(count, [reached](std::int64_t i) { return reached[i]; });
                       }
                     });
    }
    const Array<std::int64_t> by_column = draw_in_pass ? paths.sorted : paths.all();
    sample_columns<T>(scores, positives, result.table, by_column, request.trials, request.seed, trials,
                      phases.phase(kColumnTrials));
  }
  if (request.ranks && !rank_classes) {
    result.ranks.assign(scores.rows, -1);
    for (const std::uint32_t row : positives.rows) result.ranks[row] = 0;
  }
  if (rank_classes) {
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
    return make_table(thresholds, thresholds.offset, positives, sorted, {}, runner);
  });
}

}  // namespace vltr::cpu
