#include "cpu/scan.hpp"

#include <cmath>
#include <optional>
#include <type_traits>

#include "cpu/draws.hpp"
#include "cpu/sample_columns.hpp"
#include "cpu/trial_average.hpp"

namespace vltr::cpu {
namespace {

// From the sorted scores of the positives and, where rows were counted, the workers' buckets; each class on its own.
template <class Lane>
RankTable make_table(const Thresholds<Lane>& thresholds, const Positives& positives, const std::vector<Lane>& sorted,
                     const std::vector<ScanWorker<Lane>>& workers, const Runner& runner) {
  RankTable table;
  table.offset = thresholds.offset;
  std::vector<Lane> descending(thresholds.keys.size());
  table.tp.resize(thresholds.keys.size());
  table.fp.resize(thresholds.keys.size());
  table.tied.resize(thresholds.keys.size());
  const std::int64_t step = items_per_step(thresholds.classes(), 32, runner.threads);
  runner.run((thresholds.classes() + step - 1) / step, [&](std::int64_t item, int) {
    const std::int64_t end_class = std::min(thresholds.classes(), (item + 1) * step);
    for (std::int64_t c = item * step; c < end_class; ++c) {
      const std::int64_t first = thresholds.offset[static_cast<std::size_t>(c)];
      const std::int64_t end = thresholds.offset[static_cast<std::size_t>(c) + 1];
      const Lane* const lowest = sorted.data() + positives.offset[static_cast<std::size_t>(c)];
      const Lane* place = sorted.data() + positives.offset[static_cast<std::size_t>(c) + 1];
      std::int64_t tp = 0;
      std::int64_t reach = 0;
      std::int64_t missing = 0;
      for (std::int64_t k = end; k-- > first;) {
        const auto from = static_cast<std::size_t>(k);
        const auto to = static_cast<std::size_t>(first + end - 1 - k);
        const Lane key = thresholds.keys[from];
        for (; place != lowest && place[-1] > key; --place) ++missing;
        std::int64_t positives_equal = 0;
        for (; place != lowest && place[-1] == key; --place) ++positives_equal;
        std::int64_t equal = 0;
        for (const ScanWorker<Lane>& worker : workers) {
          equal += worker.buckets[2 * from];
          reach += std::int64_t{worker.buckets[2 * from]} + worker.buckets[2 * from + 1];
        }
        tp += positives_equal;
        descending[to] = key;
        table.tp[to] = tp;
        table.fp[to] = reach - tp;
        table.tied[to] = equal - positives_equal;
      }
      if (missing != 0 || place != lowest) throw MissingThreshold(c);
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

// Score and class of the best label of each row; equal scores go to the lower class, as in the ranking itself. Padded
// by 16 rows without labels, so that a block of rows can be loaded whole.
template <class Lane>
struct BestLabels {
  std::vector<Lane> score;
  std::vector<std::int32_t> cls;

  BestLabels(std::int64_t rows, const Positives& positives, const std::vector<Lane>& scores)
      : score(static_cast<std::size_t>(rows) + 16, unreachable<Lane>()), cls(static_cast<std::size_t>(rows) + 16, -1) {
    for (std::size_t c = 0; c + 1 < positives.offset.size(); ++c) {
      for (std::int64_t i = positives.offset[c]; i < positives.offset[c + 1]; ++i) {
        const std::uint32_t row = positives.rows[static_cast<std::size_t>(i)];
        const Lane lane = scores[static_cast<std::size_t>(i)];
        if (cls[row] >= 0 && lane <= score[row]) continue;
        score[row] = lane;
        cls[row] = static_cast<std::int32_t>(c);
      }
    }
  }
};

enum Phase : std::size_t { kGather, kSort, kDraw, kCount, kTable, kTrials };

// By their costs in nanoseconds of one thread, roughly.
Phases phases_of(const Matrix& scores, const Positives& positives, int trials, bool draw_in_pass,
                 const Runner& runner) {
  const auto cells = static_cast<double>(scores.rows) * static_cast<double>(scores.cols);
  const auto found = static_cast<double>(positives.rows.size());
  const double per_class = found / static_cast<double>(std::max<std::int64_t>(scores.cols, 1));
  const double levels = std::log2(2.0 + per_class);
  const double far = std::min(per_class, 150'000.0) / 1000.0;  // a place in a class's thresholds, which caches may hold
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
ScanResult scan_as(const Matrix& scores, const Positives& positives, const ScanRequest& request, const Runner& runner) {
  using Lane = LaneOf<T>;
  const bool draw_in_pass = request.trials > 0 && draws_fit_in_pass(scores, positives, request.trials);
  const Phases phases = phases_of(scores, positives, request.trials, draw_in_pass, runner);
  std::vector<Lane> sorted = positive_scores<Lane>(scores, positives, phases.phase(kGather));
  std::optional<BestLabels<Lane>> best;
  if (request.ranks) best.emplace(scores.rows, positives, sorted);
  sort_within_classes(positives, sorted, phases.phase(kSort));
  const Thresholds<Lane> thresholds =
      request.given == nullptr ? thresholds_of(positives, sorted) : given_thresholds<Lane>(*request.given);
  ScanPlan<Lane> plan{};
  plan.thresholds = &thresholds;

  ScanResult result;
  std::vector<std::atomic<std::int32_t>> rank;
  if (request.ranks) {
    rank = std::vector<std::atomic<std::int32_t>>(static_cast<std::size_t>(scores.rows));
    plan.best_score = best->score.data();
    plan.best_class = best->cls.data();
    plan.rank = rank.data();
  }

  const std::vector<Tile> tiles = row_tiles(scores, kTileRows);
  DrawPlan draws;
  if (draw_in_pass) {
    draws = plan_draws(positives, scores, tiles, request.trials, request.seed, phases.phase(kDraw));
    plan.draws = draws.draws.data();
    plan.draw_offset = draws.item_offset.data();
    plan.reached = draws.reached.data();
  }

  std::vector<ScanWorker<Lane>> workers(static_cast<std::size_t>(std::max(runner.threads, 1)));
  const std::int64_t ranges = col_ranges(scores.cols);
  const ScanTile<Lane> scan_tile = scan_tile_kernel<T>();
  phases.phase(kCount).run(static_cast<std::int64_t>(tiles.size()) * ranges, [&](std::int64_t item, int id) {
    ScanWorker<Lane>& worker = workers[static_cast<std::size_t>(id)];
    if (worker.buckets.empty()) {
      worker.buckets.resize(2 * thresholds.keys.size() + 1);
      worker.survivors.resize(kStripCols * (kTileRows + 16));
    }
    const std::int64_t first_col = item % ranges * kRangeCols;
    scan_tile(plan,
              {tiles[static_cast<std::size_t>(item / ranges)], item, first_col,
               std::min(scores.cols, first_col + kRangeCols)},
              worker);
  });
  workers.erase(
      std::remove_if(workers.begin(), workers.end(), [](const auto& worker) { return worker.buckets.empty(); }),
      workers.end());
  ScanWorker<Lane> first;
  for (const ScanWorker<Lane>& worker : workers) {
    if (worker.nan_row >= 0) first.note_nan(worker.nan_row, worker.nan_col);
  }
  if (first.nan_row >= 0) throw BadValue("scores", first.nan_row, first.nan_col);

  result.table = make_table(thresholds, positives, sorted, workers, phases.phase(kTable));
  if (draw_in_pass) {
    result.trials = average_trials(result.table, scores.rows, request.trials, phases.phase(kTrials),
                                   [&](std::int64_t c, std::int64_t count, TrialAverage& average) {
                                     const std::uint32_t* reached =
                                         draws.reached.data() + draws.slot_offset[static_cast<std::size_t>(c)];
                                     for (int trial = 0; trial < request.trials; ++trial, reached += count) {
                                       average.add_trial(count, [reached](std::int64_t i) { return reached[i]; });
                                     }
                                   });
  } else if (request.trials > 0) {
    result.trials = sample_columns<T>(scores, positives, thresholds, result.table, request.trials, request.seed,
                                      phases.phase(kTrials));
  }
  if (request.ranks) {
    result.ranks.resize(rank.size());
    for (std::size_t row = 0; row < rank.size(); ++row)
      result.ranks[row] = best->cls[row] < 0 ? -1 : rank[row].load(std::memory_order_relaxed);
  }
  return result;
}

}  // namespace

ScanResult scan(const Matrix& scores, const Positives& positives, const ScanRequest& request, const Runner& runner) {
  return with_element_type(scores.dtype, [&](auto tag) {
    return scan_as<typename decltype(tag)::type>(scores, positives, request, runner);
  });
}

RankTable positive_scores(const Matrix& scores, const Positives& positives, const Runner& runner) {
  return with_element_type(scores.dtype, [&](auto tag) {
    using Lane = LaneOf<typename decltype(tag)::type>;
    std::vector<Lane> sorted = positive_scores<Lane>(scores, positives, runner);
    sort_within_classes(positives, sorted, runner);
    const Thresholds<Lane> thresholds = thresholds_of(positives, sorted);
    return make_table(thresholds, positives, sorted, {}, runner);
  });
}

}  // namespace vltr::cpu
