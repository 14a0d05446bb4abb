#include "cpu/paired_variances.hpp"

#include <algorithm>
#include <atomic>
#include <memory>

#include "core/weight_core.hpp"
#include "cpu/find_nan.hpp"
#include "cpu/lane_columns.hpp"
#include "cpu/tile_positives.hpp"

namespace vltr::cpu {
namespace {

__extension__ using SignedWide = __int128;

// The absolute values of all effects of a class add up to less than 2^kTotalBits units, so that squares of sums are
// below 2^126. One effect is below 2^kEffectBits units, for to_integer().
constexpr int kTotalBits = 61;
constexpr int kEffectBits = 50;

double size_of(double value) { return value < 0.0 ? -value : value; }

// The sums of a class of one model over its rows with one label: of effects minus the base, and of their squares.
struct Moments {
  SignedWide sum = 0;
  Wide squares = 0;
};

// The effects of all classes of a model.
struct ModelEffects {
  const ScoredModel& model;
  LargeArray<double> negative_doubles;  // (2 K)
  LargeArray<double> positive_doubles;  // (K)
  LargeArray<std::int64_t> negative;    // (2 K) minus the base
  LargeArray<std::int64_t> positive;    // (K) minus the base
  Array<double> base_doubles;           // (C)
  Array<std::int64_t> base;             // (C)
  Array<Moments> of_negatives;          // (C)
  Array<Moments> of_positives;          // (C)

  explicit ModelEffects(const ScoredModel& of) : model(of) {
    const TableColumns& table = of.table.columns;
    const std::int64_t classes = table.offset.count() - 1;
    const std::int64_t keys = table.offset[classes];
    negative_doubles.resize(2 * keys + 1);
    positive_doubles.resize(keys + 1);
    negative.resize(2 * keys + 1);
    positive.resize(keys + 1);
    base_doubles.resize(classes);
    base.resize(classes);
    of_negatives.resize(classes);
    of_positives.resize(classes);
  }

  std::int64_t first_key(std::int64_t c) const { return model.table.columns.offset[c]; }
  ClassCounts counts(std::int64_t c) const { return class_counts(model.table.columns, c); }
  const std::int64_t* negatives_of(std::int64_t c) const { return negative.data() + 2 * first_key(c); }
  const std::int64_t* positives_of(std::int64_t c) const { return positive.data() + first_key(c); }

  // Fetches the effects of a class, which are read once a block of rows and in any order.
  void fetch(std::int64_t c) const {
    constexpr std::int64_t kMost = 512;
    const std::int64_t count = std::min(kMost, 2 * model.table.columns.offset[c + 1] - 2 * first_key(c));
    for (std::int64_t i = 0; i < count; i += 8) __builtin_prefetch(negatives_of(c) + i);
  }

  // The largest effect and the total of their absolute values.
  struct Size {
    double largest;
    double total;
  };
  Size compute(std::int64_t c, EffectMetric metric, double prevalence) {
    const ClassCounts of_class = counts(c);
    const std::int64_t first = first_key(c);
    const ClassEffects effects{negative_doubles.data() + 2 * first, positive_doubles.data() + first};
    base_doubles[c] = variance_effects(metric, of_class, prevalence, effects);
    const double rest = size_of(base_doubles[c]);
    Size size{rest, rest * static_cast<double>(of_class.rows())};
    const auto add = [&](double effect, std::int64_t rows) {
      size.largest = std::max(size.largest, size_of(effect));
      size.total += size_of(effect) * static_cast<double>(rows);
    };
    for (std::int64_t k = 0; k < of_class.count; ++k) {
      const std::int64_t at = of_class.count - 1 - k;
      add(effects.negative[2 * at], of_class.tied[k]);
      add(effects.negative[2 * at + 1], of_class.between(k));
      add(effects.positive[at], of_class.added(k));
    }
    return size;
  }

  void round(std::int64_t c, double scale) {
    const ClassCounts of_class = counts(c);
    const std::int64_t first = first_key(c);
    base[c] = to_integer(base_doubles[c] * scale);
    Moments negatives;
    Moments positives;
    for (std::int64_t k = of_class.count; k-- > 0;) {
      const std::int64_t at = first + of_class.count - 1 - k;
      const auto round_one = [&](double effect, std::int64_t rows, Moments& moments) {
        const std::int64_t rounded = to_integer(effect * scale) - base[c];
        moments.sum += static_cast<SignedWide>(rounded) * rows;
        moments.squares += static_cast<Wide>(static_cast<SignedWide>(rounded) * rounded) * static_cast<Wide>(rows);
        return rounded;
      };
      negative.data()[2 * at] = round_one(negative_doubles.data()[2 * at], of_class.tied[k], negatives);
      negative.data()[2 * at + 1] = round_one(negative_doubles.data()[2 * at + 1], of_class.between(k), negatives);
      positive.data()[at] = round_one(positive_doubles.data()[at], of_class.added(k), positives);
    }
    of_negatives[c] = negatives;
    of_positives[c] = positives;
  }
};

// Computes the effects of the models in units of 2^-exponent, one exponent for each class.
Array<int> round_effects(Span<ModelEffects* const> models, EffectMetric metric, double prevalence,
                         const Runner& runner) {
  const std::int64_t classes = models[0]->base.count();
  Array<int> exponents(classes);
  const std::int64_t step = items_per_step(classes, 8, runner.threads);
  runner.run((classes + step - 1) / step, [&](std::int64_t item, int) {
    for (std::int64_t c = item * step; c < std::min(classes, (item + 1) * step); ++c) {
      double largest = 0.0;
      double total = 0.0;
      for (ModelEffects* const model : models) {
        const ModelEffects::Size size = model->compute(c, metric, prevalence);
        largest = std::max(largest, size.largest);
        total += size.total;
      }
      if (largest > 0.0) {
        exponents[c] =
            std::clamp(std::min(kTotalBits - exponent_of(total), kEffectBits - exponent_of(largest)), -500, 500);
      }
      for (ModelEffects* const model : models) model->round(c, power_of_two(exponents[c]));
    }
  });
  return exponents;
}

int workers_of(const Runner& runner) { return std::max(runner.threads, 1); }

double to_double_signed(SignedWide value) {
  return value >= 0 ? to_double(static_cast<Wide>(value)) : -to_double(static_cast<Wide>(-value));
}

// P/(P-1), and NaN for one.
double over_one_less(std::int64_t count) {
  return count == 1 ? undefined() : static_cast<double>(count) / static_cast<double>(count - 1);
}

// Throws unless the tables have all rows of the scores and the positives of each class.
void check_models(const ScoredModel& a, const ScoredModel* b, const Positives& positives) {
  for (const ScoredModel* const model : {&a, b}) {
    if (model == nullptr) continue;
    const TableColumns& table = model->table.columns;
    if (model->scores->rows != table.rows.all) throw_other_table();
    for (std::int64_t c = 0; c < positives.classes(); ++c) {
      if (class_counts(table, c).positives != positives.offset.length(c)) throw_other_table();
    }
  }
}

// Takes the rows that are not known from a mask.
void keep_known(const RowMask& known, std::int64_t rows, RowMask& mask) {
  for (std::int64_t i = 0; i < (rows + 15) / 16; ++i) mask.block[i] &= known.block[i];
}

// Rows that are in one shard of each model.
struct RowBlock {
  std::int64_t first_row;
  std::int64_t rows;
};

Array<RowBlock> row_blocks(const ScoredModel& a, const ScoredModel* b) {
  Array<std::int64_t> starts;
  for (const ScoredModel* const model : {&a, b}) {
    if (model == nullptr) continue;
    for (const Shard& shard : model->scores->shards) starts.push_back(shard.first_row);
  }
  std::sort(starts.begin(), starts.end());
  starts.push_back(a.scores->rows);
  Array<RowBlock> blocks;
  for (std::int64_t i = 0; i + 1 < starts.count(); ++i) {
    for (std::int64_t row = starts[i]; row < starts[i + 1]; row += kTileRows) {
      blocks.push_back({row, std::min<std::int64_t>(kTileRows, starts[i + 1] - row)});
    }
  }
  return blocks;
}

void throw_first_nan_of(const LaneColumns& columns, const Matrix& scores, const char* argument, const Runner& runner) {
  if (!columns.has_nan()) return;
  try {
    throw_if_nan(scores, runner);
  } catch (const BadValue& error) {
    throw BadValue(argument, error.row, error.col);
  }
}

// Sums over rows of products of the effects of two models, without their bases. The product is 0 for a row that reaches
// no threshold of one of them.
struct Products {
  SignedWide of_negatives = 0;
  SignedWide of_positives = 0;
};

// Scratch memory of a worker, and its sums.
struct PairWorker {
  // A positive of a class, and its buckets. Its entries are fetched when it is found, and used later.
  struct Pair {
    std::int64_t cls;
    std::uint32_t bucket_a;
    std::uint32_t bucket_b;
  };
  Array<Products> products;  // (C)
  Array<Pair> pairs;
  Array<RowMask> known;
  std::uint32_t buckets_a[kTileRows + 16];
  std::uint32_t buckets_b[kTileRows + 16];
};

// The sum over rows of (a - b)^2, and that of a - b, where `gap` is the difference of the bases.
Moments moments_of_difference(const Moments& a, const Moments& b, SignedWide products, std::int64_t gap,
                              std::int64_t rows) {
  Moments moments;
  moments.sum = a.sum - b.sum + static_cast<SignedWide>(gap) * rows;
  moments.squares = a.squares + b.squares - 2 * static_cast<Wide>(products) +
                    2 * static_cast<Wide>(gap * (a.sum - b.sum)) +
                    static_cast<Wide>(static_cast<SignedWide>(gap) * gap * rows);
  return moments;
}

double variance_of(EffectMetric metric, const ClassCounts& counts, const Moments& negatives, const Moments& positives,
                   double unit) {
  const auto squares = [=](Wide sum) { return to_double(sum) * unit * unit; };
  switch (metric) {
    case EffectMetric::kRocAuc:
      return squares(positives.squares) * over_one_less(counts.positives) +
             squares(negatives.squares) * over_one_less(counts.negatives);
    case EffectMetric::kExpectedSampledAveragePrecision: {
      const auto rows = static_cast<double>(counts.rows());
      const double sum = to_double_signed(negatives.sum + positives.sum) * unit;
      return std::max(0.0, squares(negatives.squares + positives.squares) - sum * sum / rows) * ((rows - 1.0) / rows);
    }
    default:
      return squares(negatives.squares + positives.squares) * over_one_less(counts.positives);
  }
}

}  // namespace

Array<double> paired_variances(const ScoredModel& a, const ScoredModel& b, const Positives& positives,
                               EffectMetric metric, double prevalence, const Runner& caller) {
  check_models(a, &b, positives);
  const std::int64_t classes = positives.classes();
  const auto keys = static_cast<double>(a.table.columns.offset[classes] + b.table.columns.offset[classes]);
  const Phases phases(caller, {100.0 * keys, 8.0 * static_cast<double>(a.scores->rows) * static_cast<double>(classes)});
  ModelEffects of_a(a);
  ModelEffects of_b(b);
  ModelEffects* const models[] = {&of_a, &of_b};
  const Array<int> exponents = round_effects({models, 2}, metric, prevalence, phases.phase(0));

  const Runner runner = phases.phase(1);
  const auto columns_a = LaneColumns::make(*a.scores, *a.table.thresholds, workers_of(runner));
  const auto columns_b = LaneColumns::make(*b.scores, *b.table.thresholds, workers_of(runner));
  const Array<RowBlock> blocks = row_blocks(a, &b);
  const Array<std::int64_t> first_positive = first_positives(positives, blocks, runner.share(0.0, 0.01));
  const std::int64_t ranges = col_ranges(classes);
  const KnownRows known_cells(*a.scores);
  Array<PairWorker> workers(workers_of(runner));
  std::atomic<bool> known{true};

  // Adds the products of column j of what the worker has read.
  const auto add_column = [&](std::int64_t item_block, std::int64_t j, std::int64_t c, const RowMask* known_rows,
                              int id) {
    PairWorker& worker = workers[id];
    RowMask mask;
    RowMask mask_b;
    columns_a->reach(j, id, mask);
    columns_b->reach(j, id, mask_b);
    const RowBlock& block = blocks[item_block];
    for (std::int64_t i = 0; i < (block.rows + 15) / 16; ++i) mask.block[i] &= mask_b.block[i];
    if (known_rows != nullptr) keep_known(known_rows[j], block.rows, mask);
    const std::int64_t count = columns_a->find_buckets(j, id, mask, worker.buckets_a);
    columns_b->find_buckets(j, id, mask, worker.buckets_b);
    const std::int64_t* const effects_a = of_a.negatives_of(c);
    const std::int64_t* const effects_b = of_b.negatives_of(c);
    SignedWide sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      sum += static_cast<SignedWide>(effects_a[worker.buckets_a[i]]) * effects_b[worker.buckets_b[i]];
    }
    for (std::int64_t p = first_positive[item_block * classes + c]; p < first_positive[(item_block + 1) * classes + c];
         ++p) {
      const std::int64_t row = positives.rows[p] - block.first_row;
      const std::int64_t at = mask.has(row) ? mask.count_before(row) : -1;
      if (at < 0 || worker.buckets_a[at] % 2 != 0 || worker.buckets_b[at] % 2 != 0) {
        known = false;
        continue;
      }
      worker.pairs.push_back({c, worker.buckets_a[at], worker.buckets_b[at]});
      __builtin_prefetch(of_a.positives_of(c) + worker.buckets_a[at] / 2);
      __builtin_prefetch(of_b.positives_of(c) + worker.buckets_b[at] / 2);
    }
    worker.products[c].of_negatives += sum;
  };

  runner.share(0.01, 1.0).run(blocks.count() * ranges, [&](std::int64_t item, int id) {
    if (workers[id].products.empty()) workers[id].products.resize(classes);
    const RowBlock& block = blocks[item / ranges];
    const std::int64_t first = item % ranges * kRangeCols;
    const std::int64_t end = std::min(classes, first + kRangeCols);
    for (std::int64_t col = first; col < end; col += LaneColumns::kMostCols) {
      const std::int64_t cols = std::min(LaneColumns::kMostCols, end - col);
      columns_a->read(block.first_row, block.rows, col, cols, id);
      columns_b->read(block.first_row, block.rows, col, cols, id);
      const RowMask* const known_rows = known_cells.of(block.first_row, block.rows, col, col + cols, workers[id].known);
      const auto fetch = [&](std::int64_t c) {
        of_a.fetch(c);
        of_b.fetch(c);
        __builtin_prefetch(positives.rows.data() + first_positive[item / ranges * classes + c]);
      };
      fetch(col);
      for (std::int64_t j = 0; j < cols; ++j) {
        if (j + 1 < cols) fetch(col + j + 1);
        add_column(item / ranges, j, col + j, known_rows, id);
      }
      for (const PairWorker::Pair& pair : workers[id].pairs) {
        Products& products = workers[id].products[pair.cls];
        const auto product = [](const std::int64_t* effect_a, const std::int64_t* effect_b) {
          return static_cast<SignedWide>(*effect_a) * *effect_b;
        };
        products.of_negatives -=
            product(of_a.negatives_of(pair.cls) + pair.bucket_a, of_b.negatives_of(pair.cls) + pair.bucket_b);
        products.of_positives +=
            product(of_a.positives_of(pair.cls) + pair.bucket_a / 2, of_b.positives_of(pair.cls) + pair.bucket_b / 2);
      }
      workers[id].pairs.clear();
    }
  });
  throw_first_nan_of(*columns_a, *a.scores, "scores_a", runner);
  throw_first_nan_of(*columns_b, *b.scores, "scores_b", runner);
  if (!known) throw_other_table();

  Array<double> out(classes);
  for (std::int64_t c = 0; c < classes; ++c) {
    const ClassCounts counts = of_a.counts(c);
    Products sums;
    for (const PairWorker& worker : workers) {
      if (worker.products.empty()) continue;
      sums.of_negatives += worker.products[c].of_negatives;
      sums.of_positives += worker.products[c].of_positives;
    }
    const std::int64_t gap = of_a.base[c] - of_b.base[c];
    out[c] = has_effects(metric, counts) ? variance_of(metric, counts,
                                                       moments_of_difference(of_a.of_negatives[c], of_b.of_negatives[c],
                                                                             sums.of_negatives, gap, counts.negatives),
                                                       moments_of_difference(of_a.of_positives[c], of_b.of_positives[c],
                                                                             sums.of_positives, gap, counts.positives),
                                                       power_of_two(-exponents[c]))
                                         : undefined();
  }
  return out;
}

namespace {

// Scratch memory of a worker for adjacent classes.
struct ClusterWorker {
  Array<std::int64_t> sums;  // (classes, clusters), without bases
  Array<std::uint8_t> has_positive;
  Array<RowMask> known;
  Array<std::uint32_t> unknown;  // rows of a class
  Array<std::int64_t> sizes;     // rows of each cluster that a class knows
  std::uint32_t buckets[kTileRows + 16];
};

// Adds sign times the effects of a class in a block of rows, of column j of what the worker has read. known: the rows
// that the class knows, or null for all. False where a positive has no threshold of its score.
bool add_to_clusters(LaneColumns& columns, std::int64_t j, int id, const ModelEffects& effects, std::int64_t c,
                     const RowBlock& block, const RowMask* known, Span<const std::uint32_t> positives,
                     const std::uint32_t* cluster, std::int64_t sign, std::uint32_t* buckets, std::int64_t* sums) {
  RowMask mask;
  columns.reach(j, id, mask);
  if (known != nullptr) keep_known(*known, block.rows, mask);
  columns.find_buckets(j, id, mask, buckets);
  const std::int64_t* const of_negatives = effects.negatives_of(c);
  const std::int64_t* const of_positives = effects.positives_of(c);
  const std::uint32_t* bucket = buckets;
  for (std::int64_t i = 0; i < (block.rows + 15) / 16; ++i) {
    for (std::uint32_t left = mask.block[i]; left != 0; left &= left - 1) {
      sums[cluster[16 * i + __builtin_ctz(left)]] += sign * of_negatives[*bucket++];
    }
  }
  bool has_thresholds = true;
  for (const std::uint32_t positive : positives) {
    const std::int64_t row = positive - block.first_row;
    const std::int64_t at = mask.has(row) ? mask.count_before(row) : -1;
    if (at < 0 || buckets[at] % 2 != 0) {
      has_thresholds = false;
      continue;
    }
    sums[cluster[row]] += sign * (of_positives[buckets[at] / 2] - of_negatives[buckets[at]]);
  }
  return has_thresholds;
}

// The variance of a class from the sums of its clusters, in units.
double cluster_variance(EffectMetric metric, const ClassCounts& counts, const std::int64_t* sums,
                        const Array<std::int64_t>& sizes, std::int64_t base, std::int64_t positive_clusters,
                        double unit) {
  double squares = 0.0;
  if (metric == EffectMetric::kExpectedSampledAveragePrecision) {
    SignedWide total = 0;
    for (std::int64_t g = 0; g < sizes.count(); ++g) total += sums[g] + sizes[g] * base;
    const double mean = to_double_signed(total) / static_cast<double>(counts.rows());
    for (std::int64_t g = 0; g < sizes.count(); ++g) {
      const double sum = static_cast<double>(sums[g] + sizes[g] * base) - static_cast<double>(sizes[g]) * mean;
      squares += sum * sum;
    }
  } else {
    Wide exact = 0;
    for (std::int64_t g = 0; g < sizes.count(); ++g) {
      const auto sum = static_cast<SignedWide>(sums[g] + sizes[g] * base);
      exact += static_cast<Wide>(sum * sum);
    }
    squares = to_double(exact);
  }
  return squares * unit * unit * over_one_less(positive_clusters);
}

}  // namespace

Array<double> clustered_variances(const ScoredModel& a, const ScoredModel* b, const Positives& positives,
                                  const Clusters& clusters, EffectMetric metric, double prevalence,
                                  const Runner& caller) {
  check_models(a, b, positives);
  const std::int64_t classes = positives.classes();
  const double keys = static_cast<double>(a.table.columns.offset[classes]) * (b == nullptr ? 1.0 : 2.0);
  const Phases phases(caller, {100.0 * keys, 8.0 * static_cast<double>(a.scores->rows) * static_cast<double>(classes)});
  ModelEffects of_a(a);
  std::unique_ptr<ModelEffects> of_b;
  if (b != nullptr) of_b = std::make_unique<ModelEffects>(*b);
  ModelEffects* const models[] = {&of_a, of_b.get()};
  const Array<int> exponents = round_effects({models, b == nullptr ? 1 : 2}, metric, prevalence, phases.phase(0));
  Array<std::int64_t> sizes(clusters.count);
  for (std::int64_t row = 0; row < a.scores->rows; ++row) ++sizes[clusters.of_row[row]];

  const Runner runner = phases.phase(1);
  const auto columns_a = LaneColumns::make(*a.scores, *a.table.thresholds, workers_of(runner));
  const auto columns_b =
      b == nullptr ? nullptr : LaneColumns::make(*b->scores, *b->table.thresholds, workers_of(runner));
  const Array<RowBlock> blocks = row_blocks(a, b);
  const Array<std::int64_t> first_positive = first_positives(positives, blocks, runner.share(0.0, 0.01));
  constexpr std::int64_t kGroup = 16;  // classes that one cache line of floats has
  const KnownRows known_cells(*a.scores);
  Array<ClusterWorker> scratch(workers_of(runner));
  Array<double> out(classes);
  std::atomic<bool> known{true};
  runner.share(0.01, 1.0).run((classes + kGroup - 1) / kGroup, [&](std::int64_t item, int worker) {
    const std::int64_t first = item * kGroup;
    const std::int64_t cols = std::min(kGroup, classes - first);
    Array<std::int64_t>& sums = scratch[worker].sums;
    sums.assign(cols * clusters.count, 0);
    for (std::int64_t i = 0; i < blocks.count(); ++i) {
      const RowBlock& block = blocks[i];
      columns_a->read(block.first_row, block.rows, first, cols, worker);
      if (b != nullptr) columns_b->read(block.first_row, block.rows, first, cols, worker);
      const RowMask* const known_rows =
          known_cells.of(block.first_row, block.rows, first, first + cols, scratch[worker].known);
      for (std::int64_t j = 0; j < cols; ++j) {
        const std::int64_t c = first + j;
        const std::int64_t begin = first_positive[i * classes + c];
        const Span<const std::uint32_t> rows(positives.rows.data() + begin,
                                             first_positive[(i + 1) * classes + c] - begin);
        const auto add = [&](LaneColumns& columns, const ModelEffects& effects, std::int64_t sign) {
          return add_to_clusters(
              columns, j, worker, effects, c, block, known_rows == nullptr ? nullptr : known_rows + j, rows,
              clusters.of_row + block.first_row, sign, scratch[worker].buckets, sums.data() + j * clusters.count);
        };
        if (!add(*columns_a, of_a, 1)) known = false;
        if (b != nullptr && !add(*columns_b, *of_b, -1)) known = false;
      }
    }
    Array<std::uint8_t>& has_positive = scratch[worker].has_positive;
    for (std::int64_t j = 0; j < cols; ++j) {
      const std::int64_t c = first + j;
      has_positive.assign(clusters.count, 0);
      for (const std::uint32_t row : positives.rows_of(c)) has_positive[clusters.of_row[row]] = 1;
      const auto positive_clusters = std::count(has_positive.begin(), has_positive.end(), 1);
      const std::int64_t base = of_a.base[c] - (b == nullptr ? 0 : of_b->base[c]);
      const ClassCounts counts = of_a.counts(c);
      const Array<std::int64_t>* known_sizes = &sizes;
      if (unknown_count(a.scores->unknown, c) != 0) {
        scratch[worker].sizes = sizes;
        for (const std::uint32_t row : unknown_rows(a.scores->unknown, c, scratch[worker].unknown)) {
          --scratch[worker].sizes[clusters.of_row[row]];
        }
        known_sizes = &scratch[worker].sizes;
      }
      out[c] = has_effects(metric, counts)
                   ? cluster_variance(metric, counts, sums.data() + j * clusters.count, *known_sizes, base,
                                      positive_clusters, power_of_two(-exponents[c]))
                   : undefined();
    }
  });
  throw_first_nan_of(*columns_a, *a.scores, "scores_a", runner);
  if (b != nullptr) throw_first_nan_of(*columns_b, *b->scores, "scores_b", runner);
  if (!known) throw_other_table();
  return out;
}

}  // namespace vltr::cpu
