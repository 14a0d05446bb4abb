#include "cpu/weighted_average_precision.hpp"

#include "core/ap_core.hpp"
#include "core/weight_core.hpp"
#include "cpu/columns.hpp"
#include "cpu/find_nan.hpp"

namespace vltr::cpu {
namespace {

Array<Wide> scale_weights(const double* weights, std::int64_t rows) {
  const int largest = exponent_of(rows == 0 ? 0.0 : *std::max_element(weights, weights + rows));
  Array<Wide> scaled(rows);
  for (std::int64_t row = 0; row < rows; ++row) scaled[row] = scaled_weight(weights[row], largest);
  return scaled;
}

}  // namespace

Array<double> weighted_average_precision(const Matrix& scores, const Positives& positives, const double* weights,
                                         const Runner& runner) {
  const Array<Wide> scaled = scale_weights(weights, scores.rows);
  Array<double> out(scores.cols);
  with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Lane = LaneOf<T>;
    throw_if_nan(scores, runner);
    Array<Lane> sorted = positive_scores<Lane>(scores, positives, runner);
    sort_within_classes(positives, sorted, runner);
    const Thresholds<Lane> thresholds = thresholds_of(positives, sorted);
    struct Weights {
      Array<Wide> all;  // by number of thresholds reached
      Array<Wide> positive;
    };
    Array<Weights> scratch(std::max(runner.threads, 1));
    for_each_column<T>(scores, thresholds, runner, [&](std::int64_t c, const std::uint32_t* reached, int worker) {
      const std::int64_t keys = thresholds.count(c);
      Weights& sums = scratch[worker];
      sums.all.assign(keys + 1, 0);
      sums.positive.assign(keys + 1, 0);
      for (std::int64_t row = 0; row < scores.rows; ++row) sums.all[reached[row]] += scaled[row];
      for (const std::uint32_t row : positives.rows_of(c)) sums.positive[reached[row]] += scaled[row];
      Wide at_least = 0;
      Wide hits = 0;
      double sum = 0.0;
      for (std::int64_t k = keys; k > 0; --k) {
        at_least += sums.all[k];
        hits += sums.positive[k];
        if (hits != 0) sum += to_double(sums.positive[k]) * (to_double(hits) / to_double(at_least));
      }
      out[c] = hits == 0 ? undefined() : sum / to_double(hits);
    });
  });
  return out;
}

}  // namespace vltr::cpu
