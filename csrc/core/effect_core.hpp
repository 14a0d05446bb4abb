// The effect of each row on a metric of one class, from the rank table of the class.
//
//   drop-one effect   the metric without the row, minus the metric with it
//   influence         the derivative of the metric by the weight of the row; influences of a class add to zero
//
// All rows with one label between two thresholds have the same effect, so that a class with K thresholds has 3 K + 1.
// All of them take O(K) operations, because the sums over thresholds above and below are running sums. With D_k, T_k
// and F_k for the positives that equal threshold k and the positives and negatives that reach it, descending:
//
//   AP     negative that reaches thresholds k >= g:
//            1/P sum_{k>=g} D_k T_k / ((T_k + F_k - 1) (T_k + F_k))
//          positive at threshold j, P > 1:
//            1/(P-1) (AP - (T_j - 1)/(T_j + F_j - 1) - sum_{k>=j} D_k F_k / ((T_k + F_k - 1) (T_k + F_k)))
//          influences: -1/P sum_{k>=g} D_k T_k / (T_k + F_k)^2
//                      1/P (T_j/(T_j + F_j) + sum_{k>=j} D_k F_k / (T_k + F_k)^2 - AP)
//   AUC    w negatives below a positive, or positives above a negative, ties as one half: all in integers
//          drop-one: (AUC - w/n) / (P - 1) and (AUC - w/P) / (n - 1)
//          influences: (w/n - AUC) / P and (w/P - AUC) / n
//   SAP and calibrated AP are 1/P sum_k D_k E(T_k, F_k, n, P) with an expected precision E that depends on n and P:
//   see sequence_effects(). SAP has no influences, because the number of draws is an integer.
//
// In    tp, fp, tied (K,) int64, thresholds descending, as in ap_core.hpp
// Out   double, thresholds ascending: negative[2 k] of a negative that equals threshold k, negative[2 k + 1] of one
//       between thresholds k and k + 1 (the buckets of tree_core.hpp), positive[k], and the base, which is the effect
//       of a row that reaches no threshold. Zero where no row can be: fp = 0, or no positive equals the threshold. Zero
//       for a class whose metric is undefined, and for a row without which it is undefined: the only positive, and for
//       AUC the only negative.
// Bits  one fixed order of sums, + - * / only: equal on host and device
// Test  tests/eval/test_effects.py (rows dropped one by one, DeLong by pairs, finite differences of weights)
#pragma once

#include "core/sap_core.hpp"

namespace vltr {

enum class EffectMetric : int {
  kAveragePrecision,
  kRocAuc,
  kExpectedSampledAveragePrecision,
  kCalibratedAveragePrecision
};
constexpr int kEffectMetrics = 4;

// One class of a rank table.
struct ClassCounts {
  const std::int64_t* tp;
  const std::int64_t* fp;
  const std::int64_t* tied;
  std::int64_t count;
  std::int64_t positives;
  std::int64_t negatives;

  // Positives that equal threshold k.
  VLTR_HD std::int64_t added(std::int64_t k) const { return k == 0 ? tp[0] : tp[k] - tp[k - 1]; }
  // Negatives that are above threshold k and below threshold k - 1.
  VLTR_HD std::int64_t between(std::int64_t k) const { return (k == 0 ? fp[0] : fp[k] - fp[k - 1]) - tied[k]; }
  VLTR_HD std::int64_t rows() const { return positives + negatives; }
};

VLTR_HD ClassCounts class_counts(const std::int64_t* tp, const std::int64_t* fp, const std::int64_t* tied,
                                 std::int64_t count, std::int64_t num_rows) {
  const std::int64_t positives = count == 0 ? 0 : tp[count - 1];
  return {tp, fp, tied, count, positives, num_rows - positives};
}

// The effects of one class; the memory is the caller's.
struct ClassEffects {
  double* negative;  // (2 K)
  double* positive;  // (K)
};

VLTR_HD double average_precision_effects(const ClassCounts& counts, const ClassEffects& out) {
  const double ap = average_precision(counts.tp, counts.fp, counts.count);
  const auto positives = static_cast<double>(counts.positives);
  double misses = 0.0;
  double hits = 0.0;
  for (std::int64_t k = counts.count; k-- > 0;) {
    const std::int64_t at = counts.count - 1 - k;
    const auto added = static_cast<double>(counts.added(k));
    const auto tp = static_cast<double>(counts.tp[k]);
    const auto fp = static_cast<double>(counts.fp[k]);
    const double reached = tp + fp;
    double left = 1.0;    // precision at k without a positive
    if (reached > 1.0) {  // else fp is 0 here
      const double step = added / ((reached - 1.0) * reached);
      misses += tp * step;
      hits += fp * step;
      left = (tp - 1.0) / (reached - 1.0);
    }
    out.negative[2 * at] = out.negative[2 * at + 1] = fp > 0.0 ? misses / positives : 0.0;
    out.positive[at] = added > 0.0 && positives > 1.0 ? (ap - left - hits) / (positives - 1.0) : 0.0;
  }
  return 0.0;
}

VLTR_HD double average_precision_influences(const ClassCounts& counts, const ClassEffects& out) {
  const double ap = average_precision(counts.tp, counts.fp, counts.count);
  const auto positives = static_cast<double>(counts.positives);
  double misses = 0.0;
  double hits = 0.0;
  for (std::int64_t k = counts.count; k-- > 0;) {
    const std::int64_t at = counts.count - 1 - k;
    const auto added = static_cast<double>(counts.added(k));
    const auto tp = static_cast<double>(counts.tp[k]);
    const auto fp = static_cast<double>(counts.fp[k]);
    const double reached = tp + fp;
    out.negative[2 * at] = out.negative[2 * at + 1] = out.positive[at] = 0.0;
    if (added > 0.0) {
      const double step = added / (reached * reached);
      misses += tp * step;
      hits += fp * step;
      out.positive[at] = (tp / reached + hits - ap) / positives;
    }
    if (fp > 0.0) out.negative[2 * at] = out.negative[2 * at + 1] = -misses / positives;
  }
  return 0.0;
}

// a - b, rounded once.
VLTR_HD double difference(Wide a, Wide b) { return a >= b ? to_double(a - b) : -to_double(b - a); }

// The sign and the two denominators of ROC-AUC effects; 0 stands for no effect.
struct AucScale {
  double of_positive;
  double of_negative;
};

VLTR_HD double roc_auc_effects(const ClassCounts& counts, const AucScale& scale, const ClassEffects& out) {
  const auto positives = static_cast<Wide>(counts.positives);
  const auto negatives = static_cast<Wide>(counts.negatives);
  Wide wins = 0;  // all numbers of wins are doubled, so that a tie is a whole number
  for (std::int64_t k = 0; k < counts.count; ++k) {
    wins += twice_wins(counts.tp, counts.fp, counts.tied, k, counts.negatives);
  }
  const auto of = [=](std::int64_t won, Wide against, double denominator) {
    return denominator == 0.0 ? 0.0 : difference(wins, static_cast<Wide>(won) * against) / denominator;
  };
  for (std::int64_t k = 0; k < counts.count; ++k) {
    const std::int64_t at = counts.count - 1 - k;
    const std::int64_t added = counts.added(k);
    const std::int64_t above = 2 * (counts.tp[k] - added);
    const bool reached = counts.fp[k] > 0;
    out.negative[2 * at] = reached ? of(above + added, negatives, scale.of_negative) : 0.0;
    out.negative[2 * at + 1] = reached ? of(above, negatives, scale.of_negative) : 0.0;
    const std::int64_t below = 2 * (counts.negatives - counts.fp[k]) + counts.tied[k];
    out.positive[at] = added > 0 ? of(below, positives, scale.of_positive) : 0.0;
  }
  return of(2 * counts.positives, negatives, scale.of_negative);
}

VLTR_HD double roc_auc_effects(const ClassCounts& counts, const ClassEffects& out) {
  const auto positives = static_cast<double>(counts.positives);
  const auto negatives = static_cast<double>(counts.negatives);
  const double pairs = 2.0 * positives * negatives;
  return roc_auc_effects(counts, {pairs * (positives - 1.0), pairs * (negatives - 1.0)}, out);
}

VLTR_HD double roc_auc_influences(const ClassCounts& counts, const ClassEffects& out) {
  const auto positives = static_cast<double>(counts.positives);
  const auto negatives = static_cast<double>(counts.negatives);
  const double pairs = -2.0 * positives * negatives;
  return roc_auc_effects(counts, {pairs * positives, pairs * negatives}, out);
}

// Drop-one effects of a metric 1/P sum_k D_k E(T_k, F_k, n, P):
//
//   negative that reaches thresholds k >= g, n > 0:
//     1/P (sum_{k<g} D_k E(T_k, F_k, n-1, P) + sum_{k>=g} D_k E(T_k, F_k - 1, n-1, P)) - metric
//   positive at threshold j, P > 1:
//     1/(P-1) (sum_{k<j} D_k E(T_k, F_k, n, P-1) + sum_{k>=j} D_k E(T_k - 1, F_k, n, P-1) - E(T_j - 1, F_j, n, P-1))
//       - metric
//
// Each sum is one of differences to E(T_k, F_k, n, P), so that little cancels. all(tp, fp) is E at n and P,
// fewer_negatives at n - 1, fewer_positives at P - 1.
template <class All, class FewerNegatives, class FewerPositives>
VLTR_HD double sequence_effects(const ClassCounts& counts, All& all, FewerNegatives& fewer_negatives,
                                FewerPositives& fewer_positives, const ClassEffects& out) {
  const auto positives = static_cast<double>(counts.positives);
  const bool drops_negatives = counts.negatives > 0;
  const bool drops_positives = counts.positives > 1;
  double sum = 0.0;
  double negative = 0.0;
  double positive = 0.0;
  for (std::int64_t k = 0; k < counts.count; ++k) {
    const std::int64_t at = counts.count - 1 - k;
    const std::int64_t tp = counts.tp[k];
    const std::int64_t fp = counts.fp[k];
    out.negative[2 * at] = negative;  // the sums so far, which the second loop completes
    out.positive[at] = positive;
    out.negative[2 * at + 1] = 0.0;
    if (counts.added(k) == 0) continue;
    const auto added = static_cast<double>(counts.added(k));
    const double expected = all(tp, fp);
    out.negative[2 * at + 1] = expected;
    sum += added * expected;
    // Where every negative reaches the threshold, none that does not can be dropped.
    if (drops_negatives && fp < counts.negatives) negative += added * (fewer_negatives(tp, fp) - expected);
    if (drops_positives && tp < counts.positives) positive += added * (fewer_positives(tp, fp) - expected);
  }
  const double base = drops_negatives ? negative / positives : 0.0;
  const double metric = sum / positives;
  negative = 0.0;
  positive = 0.0;
  for (std::int64_t k = counts.count; k-- > 0;) {
    const std::int64_t at = counts.count - 1 - k;
    const std::int64_t tp = counts.tp[k];
    const std::int64_t fp = counts.fp[k];
    const double expected = out.negative[2 * at + 1];
    double left = 0.0;  // the expected precision at k without a positive
    if (counts.added(k) != 0) {
      const auto added = static_cast<double>(counts.added(k));
      if (fp > 0) negative += added * (fewer_negatives(tp, fp - 1) - expected);
      if (drops_positives) {
        if (tp > 1) left = fewer_positives(tp - 1, fp);  // else the threshold goes with its only positive
        positive += added * (left - expected);
      }
    }
    const double reaches = fp > 0 ? (out.negative[2 * at] + negative) / positives : 0.0;
    out.negative[2 * at] = out.negative[2 * at + 1] = reaches;
    const bool drops = drops_positives && counts.added(k) != 0;
    out.positive[at] = drops ? (metric - left + (out.positive[at] + positive)) / (positives - 1.0) : 0.0;
  }
  return base;
}

VLTR_HD double expected_sampled_average_precision_effects(const ClassCounts& counts, const ClassEffects& out) {
  const std::int64_t p = counts.positives;
  const std::int64_t n = counts.negatives;
  ExpectedPrecision all(n, sap_draws(p, n));
  ExpectedPrecision fewer_negatives(n - 1, sap_draws(p, n - 1));
  ExpectedPrecision fewer_positives(n, sap_draws(p - 1, n));
  return sequence_effects(counts, all, fewer_negatives, fewer_positives, out);
}

// Precision at a prevalence, of counts that are not those of a table. Without negatives it is 1, as the metric is.
struct CalibratedAt {
  double positives;
  double negatives;
  double prevalence;
  VLTR_HD double operator()(std::int64_t tp, std::int64_t fp) const {
    if (negatives == 0.0) return 1.0;
    const double hit = prevalence * (static_cast<double>(tp) / positives);
    const double miss = (1.0 - prevalence) * (static_cast<double>(fp) / negatives);
    return hit / (hit + miss);
  }
};

VLTR_HD double calibrated_average_precision_effects(const ClassCounts& counts, double prevalence,
                                                    const ClassEffects& out) {
  const auto p = static_cast<double>(counts.positives);
  const auto n = static_cast<double>(counts.negatives);
  CalibratedAt all{p, n, prevalence};
  CalibratedAt fewer_negatives{p, n - 1.0, prevalence};
  CalibratedAt fewer_positives{p - 1.0, n, prevalence};
  return sequence_effects(counts, all, fewer_negatives, fewer_positives, out);
}

// With r_k = T_k/P, f_k = F_k/n, precision c_k = pi r_k / den_k, den_k = pi r_k + (1 - pi) f_k, and its derivatives
// dr_k = pi (1 - pi) f_k / den_k^2 and df_k = -pi (1 - pi) r_k / den_k^2:
//
//   positive at j                      (c_j - metric)/P + 1/P^2 (sum_{k>=j} D_k dr_k - sum_k D_k r_k dr_k)
//   negative that reaches k >= g       1/(P n) (sum_{k>=g} D_k df_k - sum_k D_k f_k df_k)
VLTR_HD double calibrated_average_precision_influences(const ClassCounts& counts, double prevalence,
                                                       const ClassEffects& out) {
  const auto p = static_cast<double>(counts.positives);
  const auto n = static_cast<double>(counts.negatives);
  for (std::int64_t k = 0; k < counts.count; ++k) {
    out.negative[2 * k] = out.negative[2 * k + 1] = out.positive[k] = 0.0;
  }
  if (counts.negatives == 0) return 0.0;
  struct Slopes {
    double by_hits;
    double by_misses;
  };
  const auto slopes_at = [&](std::int64_t k) {
    const double hit = static_cast<double>(counts.tp[k]) / p;
    const double miss = static_cast<double>(counts.fp[k]) / n;
    const double sum = prevalence * hit + (1.0 - prevalence) * miss;
    // Products of quotients, because the square of a sum may be too small for a double.
    return Slopes{prevalence / sum * ((1.0 - prevalence) * miss / sum),
                  prevalence * hit / sum * ((1.0 - prevalence) / sum)};
  };
  const CalibratedAt precision{p, n, prevalence};
  double sum = 0.0;
  double all_hits = 0.0;
  double all_misses = 0.0;
  for (std::int64_t k = 0; k < counts.count; ++k) {
    if (counts.added(k) == 0) continue;
    const auto added = static_cast<double>(counts.added(k));
    const Slopes slopes = slopes_at(k);
    sum += added * precision(counts.tp[k], counts.fp[k]);
    all_hits += added * (static_cast<double>(counts.tp[k]) / p) * slopes.by_hits;
    all_misses += added * (static_cast<double>(counts.fp[k]) / n) * slopes.by_misses;
  }
  const double metric = sum / p;
  double hits = 0.0;
  double misses = 0.0;
  for (std::int64_t k = counts.count; k-- > 0;) {
    const std::int64_t at = counts.count - 1 - k;
    if (counts.added(k) != 0) {
      const auto added = static_cast<double>(counts.added(k));
      const Slopes slopes = slopes_at(k);
      hits += added * slopes.by_hits;
      misses += added * slopes.by_misses;
      out.positive[at] = (precision(counts.tp[k], counts.fp[k]) - metric) / p + (hits - all_hits) / p / p;
    }
    if (counts.fp[k] > 0) out.negative[2 * at] = out.negative[2 * at + 1] = (all_misses - misses) / p / n;
  }
  return all_misses / p / n;
}

VLTR_HD bool has_effects(EffectMetric metric, const ClassCounts& counts) {
  return counts.positives > 0 && (metric != EffectMetric::kRocAuc || counts.negatives > 0);
}

VLTR_HD double no_effects(const ClassCounts& counts, const ClassEffects& out) {
  for (std::int64_t k = 0; k < counts.count; ++k) {
    out.negative[2 * k] = out.negative[2 * k + 1] = out.positive[k] = 0.0;
  }
  return 0.0;
}

// Writes the drop-one effects of a class, and returns their base.
VLTR_HD double drop_one_effects(EffectMetric metric, const ClassCounts& counts, double prevalence,
                                const ClassEffects& out) {
  if (!has_effects(metric, counts)) return no_effects(counts, out);
  switch (metric) {
    case EffectMetric::kAveragePrecision:
      return average_precision_effects(counts, out);
    case EffectMetric::kRocAuc:
      return roc_auc_effects(counts, out);
    case EffectMetric::kExpectedSampledAveragePrecision:
      return expected_sampled_average_precision_effects(counts, out);
    case EffectMetric::kCalibratedAveragePrecision:
      break;
  }
  return calibrated_average_precision_effects(counts, prevalence, out);
}

// Writes the effects whose squares make the variance of one class, and returns their base: influences, or the drop-one
// effects of SAP.
VLTR_HD double variance_effects(EffectMetric metric, const ClassCounts& counts, double prevalence,
                                const ClassEffects& out) {
  if (!has_effects(metric, counts)) return no_effects(counts, out);
  switch (metric) {
    case EffectMetric::kAveragePrecision:
      return average_precision_influences(counts, out);
    case EffectMetric::kRocAuc:
      return roc_auc_influences(counts, out);
    case EffectMetric::kExpectedSampledAveragePrecision:
      return expected_sampled_average_precision_effects(counts, out);
    case EffectMetric::kCalibratedAveragePrecision:
      break;
  }
  return calibrated_average_precision_influences(counts, prevalence, out);
}

// 2^exponent, for exponents of normal numbers.
VLTR_HD double power_of_two(int exponent) {
  return bit_cast<double>(static_cast<std::uint64_t>(1023 + exponent) << 52);
}

// A number below 2^51 as the nearest integer, ties to even. The sum with 1.5 * 2^52 has no binary places.
VLTR_HD std::int64_t to_integer(double value) {
  constexpr double kNoPlaces = 0x1.8p52;
  return static_cast<std::int64_t>((value + kNoPlaces) - kNoPlaces);
}

}  // namespace vltr
