// Average precision and ROC-AUC of one class from its rank table.
//
//   AP             = 1/P sum_k (tp[k] - tp[k-1]) * tp[k] / (tp[k] + fp[k])
//   calibrated AP  : the same with precision restated at class prevalence pi: pi TPR / (pi TPR + (1 - pi) FPR)
//   ROC-AUC        = 1/(P n) sum_k (tp[k] - tp[k-1]) * (negatives below threshold k + half of those equal to it)
//
// In    tp, fp, tied (K,) int64   thresholds descending; tp / fp score at least threshold k, tied negatives equal it
// Out   double                    NaN where undefined: P = 0 (all), n = 0 (ROC-AUC)
// Bits  one fixed summation order, + - * / only, no contraction: equal on host and device. ROC-AUC is summed in
// integers
//       and is exact: tables of many shards together may have more rows than one call.
// Test  tests/eval/test_average_precision.py, test_roc_auc.py (textbook, scikit-learn)
#pragma once

#include "core/platform.hpp"

namespace vltr {

VLTR_HD double undefined() { return __builtin_nan(""); }

// 1/P sum_k (tp[k] - tp[k-1]) * precision_at(k), the sum that all kinds of AP share. Thresholds that no new positive
// reaches are passed over: a shard counted against the thresholds of all shards has such, and no precision there.
template <class Precision>
VLTR_HD double mean_over_positives(const std::int64_t* tp, std::int64_t count, const Precision& precision_at) {
  if (count == 0) return undefined();
  double sum = 0.0;
  std::int64_t previous = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    if (tp[k] != previous) sum += static_cast<double>(tp[k] - previous) * precision_at(k);
    previous = tp[k];
  }
  return previous == 0 ? undefined() : sum / static_cast<double>(previous);
}

VLTR_HD double average_precision(const std::int64_t* tp, const std::int64_t* fp, std::int64_t count) {
  return mean_over_positives(
      tp, count, [=](std::int64_t k) { return static_cast<double>(tp[k]) / static_cast<double>(tp[k] + fp[k]); });
}

VLTR_HD double calibrated_average_precision(const std::int64_t* tp, const std::int64_t* fp, std::int64_t count,
                                            std::int64_t negatives, double prevalence) {
  if (count != 0 && negatives == 0) return 1.0;
  const double positives = count == 0 ? 0.0 : static_cast<double>(tp[count - 1]);
  return mean_over_positives(tp, count, [=](std::int64_t k) {
    const double hit = prevalence * (static_cast<double>(tp[k]) / positives);
    const double miss = (1.0 - prevalence) * (static_cast<double>(fp[k]) / static_cast<double>(negatives));
    return hit / (hit + miss);
  });
}

VLTR_HD double roc_auc(const std::int64_t* tp, const std::int64_t* fp, const std::int64_t* tied, std::int64_t count,
                       std::int64_t negatives) {
  if (count == 0 || negatives == 0 || tp[count - 1] == 0) return undefined();
  Wide twice_wins = 0;
  std::int64_t previous = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    twice_wins += static_cast<Wide>(tp[k] - previous) * static_cast<Wide>(2 * (negatives - fp[k]) + tied[k]);
    previous = tp[k];
  }
  return static_cast<double>(twice_wins) / 2.0 / (static_cast<double>(previous) * static_cast<double>(negatives));
}

}  // namespace vltr
