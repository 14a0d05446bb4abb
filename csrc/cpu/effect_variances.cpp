#include "cpu/effect_variances.hpp"

#include <algorithm>

#include "cpu/effect_tables.hpp"

namespace vltr::cpu {
namespace {

double square(double value) { return value * value; }

// P/(P-1), and NaN for one row.
double over_one_less(std::int64_t count) {
  return count == 1 ? undefined() : static_cast<double>(count) / static_cast<double>(count - 1);
}

// Calls add(rows, effect, is_positive) for all rows of a class, which have at most 3 K + 1 different effects.
template <class Add>
void for_each_effect(const ClassCounts& counts, const ClassEffects& effects, double base, const Add& add) {
  for (std::int64_t k = counts.count; k-- > 0;) {
    const std::int64_t at = counts.count - 1 - k;
    add(counts.tied[k], effects.negative[2 * at], false);
    add(counts.between(k), effects.negative[2 * at + 1], false);
    add(counts.added(k), effects.positive[at], true);
  }
  const std::int64_t reached = counts.count == 0 ? 0 : counts.fp[counts.count - 1];
  add(counts.negatives - reached, base, false);
}

double class_variance(const ClassCounts& counts, EffectMetric metric, double prevalence, const ClassEffects& effects) {
  if (!has_effects(metric, counts)) return undefined();
  const double base = variance_effects(metric, counts, prevalence, effects);
  double mean = 0.0;
  if (metric == EffectMetric::kExpectedSampledAveragePrecision) {
    for_each_effect(counts, effects, base,
                    [&](std::int64_t rows, double effect, bool) { mean += static_cast<double>(rows) * effect; });
    mean /= static_cast<double>(counts.rows());
  }
  double of_positives = 0.0;
  double of_negatives = 0.0;
  for_each_effect(counts, effects, base, [&](std::int64_t rows, double effect, bool is_positive) {
    (is_positive ? of_positives : of_negatives) += static_cast<double>(rows) * square(effect - mean);
  });
  switch (metric) {
    case EffectMetric::kRocAuc:
      return of_positives * over_one_less(counts.positives) + of_negatives * over_one_less(counts.negatives);
    case EffectMetric::kExpectedSampledAveragePrecision: {
      const auto rows = static_cast<double>(counts.rows());
      return (of_positives + of_negatives) * ((rows - 1.0) / rows);
    }
    default:
      return of_positives + of_negatives;
  }
}

}  // namespace

Array<double> class_variances(const TableColumns& table, EffectMetric metric, double prevalence, const Runner& runner) {
  const std::int64_t classes = table.offset.count() - 1;
  Array<double> out(classes);
  const std::int64_t step = items_per_step(classes, 8, runner.threads);
  struct Scratch {
    Array<double> negative;
    Array<double> positive;
  };
  Array<Scratch> scratch(std::max(runner.threads, 1));
  runner.run((classes + step - 1) / step, [&](std::int64_t item, int id) {
    for (std::int64_t c = item * step; c < std::min(classes, (item + 1) * step); ++c) {
      const ClassCounts counts = class_counts(table, c);
      scratch[id].negative.resize(2 * counts.count);
      scratch[id].positive.resize(counts.count);
      out[c] = class_variance(counts, metric, prevalence, {scratch[id].negative.data(), scratch[id].positive.data()});
    }
  });
  return out;
}

}  // namespace vltr::cpu
