#include "cpu/effect_tables.hpp"

#include <algorithm>

#include "core/weight_core.hpp"

namespace vltr::cpu {
namespace {

constexpr int kSumBits = 46;  // of the largest sum; each class may add one half of a unit by its rounding

double largest_size(const double* values, std::int64_t count) {
  double largest = 0.0;
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, values[i] < 0.0 ? -values[i] : values[i]);
  return largest;
}

// The exponent at which a sum of that size has kSumBits bits.
int exponent_for(double largest) {
  return largest == 0.0 ? 0 : std::clamp(kSumBits - exponent_of(largest), -1000, 1000);
}

}  // namespace

EffectTables effect_tables(const TableColumns& table, Span<const EffectMetric> metrics, double prevalence,
                           const Runner& runner) {
  const std::int64_t classes = table.offset.count() - 1;
  const std::int64_t keys = table.offset[classes];
  EffectTables tables;
  tables.metrics = metrics.count();
  tables.width = tables.metrics <= 2 ? tables.metrics : 4;
  // By metric: the doubles of all classes, and the largest of each.
  LargeArray<double> negative;
  LargeArray<double> positive;
  negative.resize(metrics.count() * 2 * keys);
  positive.resize(metrics.count() * keys);
  Array<double> base(metrics.count() * classes);
  Array<double> largest(metrics.count() * classes);
  const std::int64_t step = items_per_step(classes, 8, runner.threads);
  const std::int64_t steps = (classes + step - 1) / step;
  runner.share(0.0, 0.9).run(metrics.count() * steps, [&](std::int64_t item, int) {
    const std::int64_t m = item / steps;
    const std::int64_t first_class = item % steps * step;
    for (std::int64_t c = first_class; c < std::min(classes, first_class + step); ++c) {
      const std::int64_t first = table.offset[c];
      const std::int64_t count = table.offset[c + 1] - first;
      const ClassEffects effects{negative.data() + 2 * (m * keys + first), positive.data() + m * keys + first};
      const double of_rest = drop_one_effects(metrics[m], class_counts(table, c), prevalence, effects);
      base[m * classes + c] = of_rest;
      largest[m * classes + c] = std::max({largest_size(&of_rest, 1), largest_size(effects.negative, 2 * count),
                                           largest_size(effects.positive, count)});
    }
  });
  Array<double> scale;
  for (std::int64_t m = 0; m < metrics.count(); ++m) {
    double sum = 0.0;
    for (std::int64_t c = 0; c < classes; ++c) sum += largest[m * classes + c];
    tables.exponents.push_back(exponent_for(sum));
    scale.push_back(power_of_two(tables.exponents.back()));
  }
  const std::int64_t width = tables.width;
  tables.negative.resize(2 * keys * width + 1);
  tables.positive.resize(keys * width + 1);
  tables.base.assign(classes * width, 0);
  runner.share(0.9, 1.0).run(steps, [&](std::int64_t item, int) {
    for (std::int64_t c = item * step; c < std::min(classes, (item + 1) * step); ++c) {
      for (std::int64_t w = 0; w < width; ++w) {
        const bool unused = w >= metrics.count();
        const double* const of_negatives = negative.data() + w * 2 * keys;
        const double* const of_positives = positive.data() + w * keys;
        const std::int64_t rest = unused ? 0 : to_integer(base[w * classes + c] * scale[w]);
        tables.base[c * width + w] = rest;
        for (std::int64_t i = 2 * table.offset[c]; i < 2 * table.offset[c + 1]; ++i) {
          tables.negative.data()[i * width + w] = unused ? 0 : to_integer(of_negatives[i] * scale[w]) - rest;
        }
        for (std::int64_t i = table.offset[c]; i < table.offset[c + 1]; ++i) {
          tables.positive.data()[i * width + w] = unused ? 0 : to_integer(of_positives[i] * scale[w]) - rest;
        }
      }
    }
  });
  return tables;
}

}  // namespace vltr::cpu
