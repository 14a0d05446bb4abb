// Average precision and ROC-AUC of one class from its rank table.
//
//   AP             = 1/P sum_k (tp[k] - tp[k-1]) * tp[k] / (tp[k] + fp[k])
//   calibrated AP  : the same with precision restated at class prevalence pi: pi TPR / (pi TPR + (1 - pi) FPR)
//   ROC-AUC        = 1/(P n) sum_k (tp[k] - tp[k-1]) * (negatives below threshold k + half of those equal to it)
//
// In    tp, fp, tied (K,) int64   thresholds descending; tp / fp score at least threshold k, tied negatives equal it
// Out   double                    NaN where undefined: P = 0 (all), n = 0 (ROC-AUC)
// Bits  one fixed summation order, + - * / only, no contraction: equal on host and device. A device may compute the
//       summands in parallel; it adds them in ascending k. ROC-AUC is summed in integers and is exact, because the
//       table of many shards may have more rows than one call takes.
// Test  tests/eval/test_average_precision.py, test_roc_auc.py (textbook, scikit-learn)
#pragma once

#include "core/wide.hpp"

namespace vltr {

VLTR_HD double undefined() { return __builtin_nan(""); }

// Summand k of AP, (tp[k] - tp[k-1]) * precision_at(k). All kinds of AP share it. A threshold that adds no
// positive adds 0. Such thresholds occur where a shard is counted against the thresholds of all shards;
// precision may be 0/0 there.
template <class Precision>
VLTR_HD double precision_summand(const std::int64_t* tp, std::int64_t k, const Precision& precision_at) {
  const std::int64_t previous = k == 0 ? 0 : tp[k - 1];
  return tp[k] == previous ? 0.0 : static_cast<double>(tp[k] - previous) * precision_at(k);
}

// AP from the sum of its summands: the mean over the positives.
VLTR_HD double mean_over_positives(double sum, const std::int64_t* tp, std::int64_t count) {
  return count == 0 || tp[count - 1] == 0 ? undefined() : sum / static_cast<double>(tp[count - 1]);
}

template <class Precision>
VLTR_HD double mean_over_positives(const std::int64_t* tp, std::int64_t count, const Precision& precision_at) {
  double sum = 0.0;
  for (std::int64_t k = 0; k < count; ++k) sum += precision_summand(tp, k, precision_at);
  return mean_over_positives(sum, tp, count);
}

struct Precision {
  const std::int64_t* tp;
  const std::int64_t* fp;
  VLTR_HD double operator()(std::int64_t k) const {
    return static_cast<double>(tp[k]) / static_cast<double>(tp[k] + fp[k]);
  }
};

VLTR_HD double average_precision(const std::int64_t* tp, const std::int64_t* fp, std::int64_t count) {
  return mean_over_positives(tp, count, Precision{tp, fp});
}

// Precision at a given prevalence. The class must have negatives; without them AP is 1 at any prevalence.
struct CalibratedPrecision {
  const std::int64_t* tp;
  const std::int64_t* fp;
  double positives;
  double negatives;
  double prevalence;
  VLTR_HD double operator()(std::int64_t k) const {
    const double hit = prevalence * (static_cast<double>(tp[k]) / positives);
    const double miss = (1.0 - prevalence) * (static_cast<double>(fp[k]) / negatives);
    return hit / (hit + miss);
  }
};

VLTR_HD CalibratedPrecision calibrated_precision(const std::int64_t* tp, const std::int64_t* fp, std::int64_t count,
                                                 std::int64_t negatives, double prevalence) {
  const double positives = count == 0 ? 0.0 : static_cast<double>(tp[count - 1]);
  return {tp, fp, positives, static_cast<double>(negatives), prevalence};
}

VLTR_HD double calibrated_average_precision(const std::int64_t* tp, const std::int64_t* fp, std::int64_t count,
                                            std::int64_t negatives, double prevalence) {
  if (count != 0 && negatives == 0) return 1.0;
  return mean_over_positives(tp, count, calibrated_precision(tp, fp, count, negatives, prevalence));
}

// Twice the number of pairs that positives at threshold k win against negatives. A tie counts one half.
VLTR_HD Wide twice_wins(const std::int64_t* tp, const std::int64_t* fp, const std::int64_t* tied, std::int64_t k,
                        std::int64_t negatives) {
  const std::int64_t previous = k == 0 ? 0 : tp[k - 1];
  return static_cast<Wide>(tp[k] - previous) * static_cast<Wide>(2 * (negatives - fp[k]) + tied[k]);
}

VLTR_HD double roc_auc(Wide sum_of_twice_wins, std::int64_t positives, std::int64_t negatives) {
  if (positives == 0 || negatives == 0) return undefined();
  return to_double(sum_of_twice_wins) / 2.0 / (static_cast<double>(positives) * static_cast<double>(negatives));
}

VLTR_HD double roc_auc(const std::int64_t* tp, const std::int64_t* fp, const std::int64_t* tied, std::int64_t count,
                       std::int64_t negatives) {
  Wide sum = 0;
  for (std::int64_t k = 0; k < count; ++k) sum += twice_wins(tp, fp, tied, k, negatives);
  return roc_auc(sum, count == 0 ? 0 : tp[count - 1], negatives);
}

}  // namespace vltr
