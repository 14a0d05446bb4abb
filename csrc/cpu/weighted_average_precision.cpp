#include "cpu/weighted_average_precision.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include "core/large_array.hpp"
#include "core/weight_core.hpp"
#include "cpu/class_path.hpp"
#include "cpu/columns.hpp"
#include "cpu/dense_weights.hpp"
#include "cpu/find_nan.hpp"
#include "cpu/weighted_tile.hpp"

namespace vltr::cpu {
namespace {

// A class with more thresholds is read as a whole column, so that its sums stay in the cache meanwhile.
constexpr std::int64_t kMostTileThresholds = 1024;
constexpr std::int64_t kMostWeightings = 4;  // in one pass, which bounds the sums of a worker

constexpr std::int64_t kRowsPerItem = 8192;
std::int64_t items_of(std::int64_t rows) { return (rows + kRowsPerItem - 1) / kRowsPerItem; }

bool is_weight(double value) { return value >= 0.0 && value <= std::numeric_limits<double>::max(); }

// The exponent of the largest weight of each weighting. Throws BadValue at the first row with a bad weight.
Array<int> exponents_of(const double* weights, std::int64_t rows, std::int64_t weightings, const Runner& runner) {
  const std::int64_t items = items_of(rows);
  Array<double> largest(items * weightings);
  Array<std::int64_t> bad_row(items, rows);
  runner.run(items, [&](std::int64_t item, int) {
    for (std::int64_t w = 0; w < weightings; ++w) {
      const double* const first = weights + w * rows + item * kRowsPerItem;
      const double* const end = first + std::min(kRowsPerItem, rows - item * kRowsPerItem);
      bool bad = false;
      for (const double* weight = first; weight != end; ++weight) bad |= !is_weight(*weight);
      if (bad) {
        const std::int64_t row = item * kRowsPerItem + (std::find_if_not(first, end, is_weight) - first);
        bad_row[item] = std::min(bad_row[item], row);
      }
      largest[w * items + item] = *std::max_element(first, end);
    }
  });
  for (const std::int64_t row : bad_row) {
    if (row != rows) throw BadValue("sample_weight", row, 0);
  }
  Array<int> exponents(weightings);
  for (std::int64_t w = 0; w < weightings && items > 0; ++w) {
    const double* const of_items = largest.data() + w * items;
    exponents[w] = exponent_of(*std::max_element(of_items, of_items + items));
  }
  return exponents;
}

// The weightings of each row side by side: (N, weightings).
LargeArray<Wide> scale_weights(const double* weights, std::int64_t rows, const Array<int>& exponents,
                               const Runner& runner) {
  const std::int64_t weightings = exponents.count();
  LargeArray<Wide> scaled;
  scaled.resize(rows * weightings);
  runner.run(items_of(rows), [&](std::int64_t item, int) {
    for (std::int64_t row = item * kRowsPerItem; row < std::min(rows, (item + 1) * kRowsPerItem); ++row) {
      for (std::int64_t w = 0; w < weightings; ++w) {
        scaled.data()[row * weightings + w] = scaled_weight(weights[w * rows + row], exponents[w]);
      }
    }
  });
  return scaled;
}

// AP of one class from the sums of its thresholds, ascending. `stride` is from one threshold to the next.
double average_weights(const Wide* all, const Wide* positive, std::int64_t count, std::int64_t stride) {
  Wide at_least = 0;
  Wide hits = 0;
  double sum = 0.0;
  for (std::int64_t k = (count - 1) * stride; k >= 0; k -= stride) {
    at_least += all[k];
    hits += positive[k];
    sum += weighted_summand(positive[k], hits, at_least);
  }
  return mean_over_weights(sum, hits);
}

// The work of one pass over scores of one element type, for the classes that are searched.
template <class T>
class WeightedPass {
 public:
  using Lane = LaneOf<T>;

  // `positives` are those of the classes that are searched; other classes have none.
  WeightedPass(const Matrix& scores, const Positives& positives, const Array<std::int64_t>& searched,
               const double* weights, const Array<int>& exponents, const Runner& runner)
      : scores_(scores),
        positives_(positives),
        searched_(searched),
        weightings_(exponents.count()),
        phases_(runner, {40.0 * static_cast<double>(positives.rows.count()),
                         3.0 * static_cast<double>(scores.rows) * static_cast<double>(scores.cols),
                         20.0 * static_cast<double>(positives.rows.count())}),
        weights_(scale_weights(weights, scores.rows, exponents, runner)),
        of_positives_(positive_scores<Lane>(scores, positives, phases_.phase(0))) {
    Array<Lane> sorted = of_positives_;
    sort_within_classes(positives, sorted, phases_.phase(0));
    thresholds_ = thresholds_of(positives, sorted);
  }

  void run(double* out) {
    const Array<WeightedWorker<Lane>> workers = add_tiles();
    average_tiles(workers, out);
    average_columns(out);
  }

 private:
  bool in_tiles(std::int64_t c) const { return thresholds_.count(c) <= kMostTileThresholds; }

  // Adds the weights of the classes with few thresholds, and looks for NaN in all classes.
  Array<WeightedWorker<Lane>> add_tiles() {
    Array<Lane> lowest = thresholds_.lowest;
    tile_offset_.assign(1, 0);
    for (std::int64_t c = 0; c < scores_.cols; ++c) {
      if (!in_tiles(c)) lowest[c] = unreachable<Lane>();
      tile_offset_.push_back(tile_offset_.back() + (in_tiles(c) ? thresholds_.count(c) : 0));
    }
    const WeightedPlan<Lane> plan{&thresholds_,    lowest.data(), &tile_offset_,
                                  weights_.data(), weightings_,   KnownRows(scores_)};
    const WeightedTile<Lane> weighted_tile = weighted_tile_kernel<T>();
    const Array<Tile> tiles = row_tiles(scores_, kTileRows);
    const std::int64_t ranges = col_ranges(scores_.cols);
    Array<WeightedWorker<Lane>> workers(std::max(phases_.phase(1).threads, 1));
    phases_.phase(1).run(tiles.count() * ranges, [&](std::int64_t item, int id) {
      WeightedWorker<Lane>& worker = workers[id];
      if (worker.sums.empty()) {
        worker.sums.resize(tile_offset_.back() * weightings_ + 1);
        worker.survivors.resize(kStripCols * (kTileRows + 16));
        worker.rows.resize(kStripCols * (kTileRows + 16));
      }
      const std::int64_t first_col = item % ranges * kRangeCols;
      weighted_tile(plan, tiles[item / ranges], first_col, std::min(scores_.cols, first_col + kRangeCols), worker);
    });
    throw_first_nan(workers);
    return workers;
  }

  void average_tiles(const Array<WeightedWorker<Lane>>& workers, double* out) {
    const Runner runner = phases_.phase(2);
    const std::int64_t step = items_per_step(searched_.count(), 8, runner.threads);
    Array<Sums> scratch(std::max(runner.threads, 1));
    runner.run((searched_.count() + step - 1) / step, [&](std::int64_t item, int id) {
      Sums& sums = scratch[id];
      for (std::int64_t s = item * step; s < std::min(searched_.count(), (item + 1) * step); ++s) {
        const std::int64_t c = searched_[s];
        if (!in_tiles(c)) continue;
        const std::int64_t keys = thresholds_.count(c);
        sums.start(keys * weightings_);
        for (const WeightedWorker<Lane>& worker : workers) {
          if (worker.sums.empty()) continue;
          const Wide* const of_worker = worker.sums.data() + tile_offset_.first(c) * weightings_;
          for (std::int64_t i = 0; i < keys * weightings_; ++i) sums.all[i] += of_worker[i];
        }
        const Lane* const key = thresholds_.keys.data() + thresholds_.offset.first(c);
        for (std::int64_t i = positives_.offset[c]; i < positives_.offset[c + 1]; ++i) {
          const std::int64_t k = std::lower_bound(key, key + keys, of_positives_[i]) - key;
          add(positives_.rows[i], sums.positive.data() + k * weightings_);
        }
        average(c, sums.all.data(), sums.positive.data(), keys, out);
      }
    });
  }

  void average_columns(double* out) {
    Array<Sums> scratch(std::max(phases_.phase(1).threads, 1));
    Array<std::int64_t> by_column;
    for (std::int64_t c = 0; c < scores_.cols; ++c) {
      if (!in_tiles(c)) by_column.push_back(c);
    }
    for_each_column<T>(scores_, thresholds_, {by_column.data(), by_column.count()}, phases_.phase(1),
                       [&](std::int64_t c, std::uint32_t* reached, int id) {
                         const std::int64_t keys = thresholds_.count(c);
                         Sums& sums = scratch[id];
                         for (const std::uint32_t row : unknown_rows(scores_.unknown, c, sums.unknown))
                           reached[row] = 0;
                         sums.start((keys + 1) * weightings_);  // the first: rows that reach no threshold
                         if (weightings_ == 1) {
                           for (std::int64_t row = 0; row < scores_.rows; ++row)
                             sums.all[reached[row]] += weights_.data()[row];
                         } else {
                           for (std::int64_t row = 0; row < scores_.rows; ++row)
                             add(row, sums.all.data() + reached[row] * weightings_);
                         }
                         for (const std::uint32_t row : positives_.rows_of(c))
                           add(row, sums.positive.data() + reached[row] * weightings_);
                         average(c, sums.all.data() + weightings_, sums.positive.data() + weightings_, keys, out);
                       });
  }

  struct Sums {
    Array<Wide> all;  // by threshold, ascending, and weighting
    Array<Wide> positive;
    Array<std::uint32_t> unknown;  // rows

    void start(std::int64_t count) {
      all.assign(count, 0);
      positive.assign(count, 0);
    }
  };

  void add(std::int64_t row, Wide* sum) const {
    const Wide* const weight = weights_.data() + row * weightings_;
    for (std::int64_t w = 0; w < weightings_; ++w) sum[w] += weight[w];
  }

  void average(std::int64_t c, const Wide* all, const Wide* positive, std::int64_t keys, double* out) const {
    for (std::int64_t w = 0; w < weightings_; ++w) {
      out[w * scores_.cols + c] = average_weights(all + w, positive + w, keys, weightings_);
    }
  }

  const Matrix& scores_;
  const Positives& positives_;
  const Array<std::int64_t>& searched_;
  const std::int64_t weightings_;
  const Phases phases_;
  const LargeArray<Wide> weights_;  // (N, weightings)
  const Array<Lane> of_positives_;  // in the order of positives_.rows
  Thresholds<Lane> thresholds_;
  Offsets tile_offset_;  // (C + 1) thresholds of the classes that are read in tiles
};

template <class T>
void average_weightings(const Matrix& scores, const Positives& positives, const double* weights,
                        std::int64_t weightings, const Runner& runner, double* out) {
  const ClassPaths paths = class_paths(positives, scores.rows);
  const auto rows = static_cast<double>(scores.rows);
  const Phases phases(
      runner, {rows * static_cast<double>(weightings), 10.0 * rows * static_cast<double>(paths.searched.count()),
               20.0 * rows * static_cast<double>(paths.sorted.count())});
  const Array<int> exponents = exponents_of(weights, scores.rows, weightings, phases.phase(0));
  if (!paths.searched.empty()) {
    std::optional<OwnedPositives> some;
    if (!paths.sorted.empty()) some.emplace(only(positives, paths.searched));
    WeightedPass<T>(scores, some ? *some : positives, paths.searched, weights, exponents, phases.phase(1)).run(out);
  }
  if (!paths.sorted.empty() &&
      !weigh_dense_classes<T>(scores, positives, paths.sorted, weights, exponents, phases.phase(2), out)) {
    throw_if_nan(scores, runner);
    throw ScoresChanged();
  }
}

}  // namespace

Array<double> weighted_average_precisions(const Matrix& scores, const Positives& positives, const double* weights,
                                          std::int64_t weightings, const Runner& runner) {
  Array<double> out(weightings * scores.cols);
  for (std::int64_t first = 0; first < weightings; first += kMostWeightings) {
    const std::int64_t count = std::min(kMostWeightings, weightings - first);
    const auto all = static_cast<double>(weightings);
    const Runner part = runner.share(static_cast<double>(first) / all, static_cast<double>(first + count) / all);
    with_element_type(scores.dtype, [&](auto tag) {
      average_weightings<typename decltype(tag)::type>(scores, positives, weights + first * scores.rows, count, part,
                                                       out.data() + first * scores.cols);
    });
  }
  return out;
}

}  // namespace vltr::cpu
