#include "cpu/weighted_average_precision.hpp"

#include "core/ap_core.hpp"
#include "core/weight_core.hpp"
#include "cpu/columns.hpp"
#include "cpu/find_nan.hpp"

namespace vltr::cpu {
namespace {

std::vector<Wide> scale_weights(const double* weights, std::int64_t rows) {
  const int largest = exponent_of(rows == 0 ? 0.0 : *std::max_element(weights, weights + rows));
  std::vector<Wide> scaled(static_cast<std::size_t>(rows));
  for (std::int64_t row = 0; row < rows; ++row)
    scaled[static_cast<std::size_t>(row)] = scaled_weight(weights[row], largest);
  return scaled;
}

}  // namespace

std::vector<double> weighted_average_precision(const Matrix& scores, const Positives& positives, const double* weights,
                                               const Runner& runner) {
  const std::vector<Wide> scaled = scale_weights(weights, scores.rows);
  std::vector<double> out(static_cast<std::size_t>(scores.cols));
  with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Lane = LaneOf<T>;
    throw_if_nan(scores, runner);
    std::vector<Lane> sorted = positive_scores<Lane>(scores, positives, runner);
    sort_within_classes(positives, sorted, runner);
    const Thresholds<Lane> thresholds = thresholds_of(positives, sorted);
    struct Weights {
      std::vector<Wide> all;  // by thresholds reached
      std::vector<Wide> positive;
    };
    std::vector<Weights> scratch(static_cast<std::size_t>(std::max(runner.threads, 1)));
    for_each_column<T>(scores, thresholds, runner, [&](std::int64_t c, const std::uint32_t* reached, int worker) {
      const auto keys = static_cast<std::size_t>(thresholds.count(c));
      Weights& sums = scratch[static_cast<std::size_t>(worker)];
      sums.all.assign(keys + 1, 0);
      sums.positive.assign(keys + 1, 0);
      for (std::int64_t row = 0; row < scores.rows; ++row)
        sums.all[reached[row]] += scaled[static_cast<std::size_t>(row)];
      for (std::int64_t i = positives.offset[static_cast<std::size_t>(c)];
           i < positives.offset[static_cast<std::size_t>(c) + 1]; ++i) {
        const std::uint32_t row = positives.rows[static_cast<std::size_t>(i)];
        sums.positive[reached[row]] += scaled[row];
      }
      Wide at_least = 0;
      Wide hits = 0;
      double sum = 0.0;
      for (std::size_t k = keys; k > 0; --k) {
        at_least += sums.all[k];
        hits += sums.positive[k];
        if (hits != 0) sum += to_double(sums.positive[k]) * (to_double(hits) / to_double(at_least));
      }
      out[static_cast<std::size_t>(c)] = hits == 0 ? undefined() : sum / to_double(hits);
    });
  });
  return out;
}

}  // namespace vltr::cpu
