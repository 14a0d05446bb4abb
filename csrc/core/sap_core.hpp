// Sampled AP (SAP) of one class: AP on all P positives and d = min(P, n) of its n negatives. "A Study on Action
// Detection in the Wild" (arXiv 1904.12993); the closed form and the chance level are ours.
//
//   one trial       the AP formula with H[k] instead of fp[k]: the drawn negatives at or above threshold k
//   expectation     E[SAP] = 1/P sum_k (tp[k] - tp[k-1]) * E[tp[k] / (tp[k] + H)],  H ~ Hypergeometric(n, fp[k], d)
//   chance          the expected AP of a random order of P positives among m = P + d rows:
//                   1/m * (H_m + (P - 1)/(m - 1) * (m - H_m)),  H_m the m-th harmonic number
//
// In    tp, fp (K,) int64, thresholds descending; at most 2^53 rows
// Out   double   NaN when P = 0
// Cost  O(1) for the chance level; O(1) a threshold for the expectation: 2 to 5 levels of a continued fraction in large
//       classes, at most 44 in any
// Bits  one fixed order, + - * / only: equal on host and device. If all negatives are drawn, the expectation has the
//       bits of AP.
// Test  csrc/tests/test_core.cpp, tests/eval/test_sampled.py (full enumeration, simulation)
#pragma once

#include "core/ap_core.hpp"

namespace vltr {

// E[tp / (tp + H)] is a Stieltjes continued fraction. With a = tp, n negatives, m of them marked, and d draws:
//
//   E[1 / (a + H)] = 1 / (a + A_0 / (1 + C_1 / (a + A_1 / (1 + C_2 / (a + ...)))))
//   A_k = (n + 1 - k) (m - k) (d - k) / ((n + 1 - 2k) (n - 2k))
//   C_k = k (n + 1 - m - k) (n + 1 - d - k) / ((n + 2 - 2k) (n + 1 - 2k))
//
// A_k and C_k are the recurrence coefficients of the Hahn polynomials, which are orthogonal with respect to the
// distribution of H (NIST DLMF 18.22.3 with alpha = -m - 1, beta = m - n - 1, N = d). A_0 is the mean of H and A_0 C_1
// its variance. All coefficients are positive, until one is 0 and ends the fraction: A_k at k = min(m, d), or C_k at
// k = n + 1 - max(m, d).
//
// Error   The convergents are alternately below and above the value, so the distance of two neighbours bounds the error
//         of each. It is the product of the coefficients over the product of the two denominators. The fraction is cut
//         when this distance, relative to the convergent, is at most kSapTolerance = 4e-15. Numerators and denominators
//         are sums of positive products: nothing cancels, and rounding adds a few units of the last digit. Both hold
//         for all counts, so there is no second formula. In three million random cases with up to 2^53 rows the largest
//         error was 5e-15, relative to the fraction in quadruple precision.
// Levels  The distance falls as tp rises, because only the denominators contain a. After K levels it is about
//         K! r^K (1 + mean / tp) for small r = variance / (tp + mean)^2. The slowest case is tp = 1 with a Poisson
//         distribution of mean 19: 44 levels. kSapLevels bounds the loop for counts that contradict each other.
constexpr double kSapTolerance = 0x1p-48;
constexpr int kSapLevels = 48;

// Level k without the factors that depend on the threshold: A_k = up (m - k) and C_k = down (n + 1 - m - k). Zero where
// the formulas divide by zero or less: the fraction has ended there for all m.
struct SapLevel {
  double up = 0.0;
  double down = 0.0;
};

VLTR_HD SapLevel sap_level(double negatives, double draws, int level) {
  SapLevel result;
  const double k = level;
  const double left = negatives - 2.0 * k;
  if (left > 0.0) result.up = (negatives + 1.0 - k) * (draws - k) / ((left + 1.0) * left);
  if (left >= 0.0) result.down = k * ((negatives + 1.0 - draws - k) / ((left + 2.0) * (left + 1.0)));
  return result;
}

// E[tp / (tp + H)]. level_at(k) must be sap_level(n, d, k). It is called with k = 0, 1, ..., at most kSapLevels.
template <class LevelAt>
VLTR_HD double expected_precision(std::int64_t tp, std::int64_t negatives, std::int64_t marked, LevelAt& level_at) {
  const double a = static_cast<double>(tp);
  const double m = static_cast<double>(marked);
  const double unmarked = static_cast<double>(negatives - marked) + 1.0;
  double up = level_at(0).up * m;
  double lower = 1.0;  // numerators and denominators of the last convergents below and above E[1 / (a + H)]
  double lower_denominator = a + up;
  double upper = 1.0;
  double upper_denominator = a;
  double product = 1.0 / kSapTolerance;  // of the coefficients so far, over the tolerance
  for (int k = 1; k <= kSapLevels; ++k) {
    const SapLevel level = level_at(k);
    const double down = level.down * (unmarked - k);
    product *= up * down;
    upper_denominator = a * lower_denominator + down * upper_denominator;
    if (product <= upper_denominator * lower) break;
    upper = a * lower + down * upper;
    up = level.up * (m - k);
    lower = up * lower + upper;
    lower_denominator = up * lower_denominator + upper_denominator;
  }
  return a * lower / lower_denominator;
}

VLTR_HD double expected_precision(std::int64_t tp, std::int64_t negatives, std::int64_t marked, std::int64_t draws) {
  const auto level_at = [=](int k) { return sap_level(static_cast<double>(negatives), static_cast<double>(draws), k); };
  return expected_precision(tp, negatives, marked, level_at);
}

// expected_precision() at many thresholds of one class. It calculates each level once, which saves half of the time.
class ExpectedPrecision {
 public:
  VLTR_HD ExpectedPrecision(std::int64_t negatives, std::int64_t draws) : negatives_(negatives), draws_(draws) {}
  VLTR_HD double operator()(std::int64_t tp, std::int64_t marked) {
    const auto level_at = [this](int k) {
      if (k == known_) {
        level_[k] = sap_level(static_cast<double>(negatives_), static_cast<double>(draws_), k);
        ++known_;
      }
      return level_[k];
    };
    return expected_precision(tp, negatives_, marked, level_at);
  }

 private:
  std::int64_t negatives_;
  std::int64_t draws_;
  int known_ = 0;  // the levels below have been calculated
  SapLevel level_[kSapLevels + 1];
};

// Draws of each trial: as many negatives as there are positives, or all if there are fewer.
VLTR_HD std::int64_t sap_draws(std::int64_t positives, std::int64_t negatives) {
  return positives < negatives ? positives : negatives;
}

VLTR_HD double expected_sampled_average_precision(const std::int64_t* tp, const std::int64_t* fp, std::int64_t count,
                                                  std::int64_t negatives) {
  const std::int64_t draws = sap_draws(count == 0 ? 0 : tp[count - 1], negatives);
  ExpectedPrecision expected(negatives, draws);
  return mean_over_positives(tp, count, [&](std::int64_t k) { return expected(tp[k], fp[k]); });
}

// Summand of threshold k in a trial: `hits` positives and `fp` drawn negatives reach it, `previous` positives
// reach the threshold before.
VLTR_HD double sampled_summand(double hits, double previous, double fp) {
  return (hits - previous) * (hits / (hits + fp));
}

// AP of kSapLanes trials at once, each summed in the same order: the trials are the lanes of SIMD registers.
//
// drawn (K + 1, kSapLanes): the number of drawn negatives of each trial at or above threshold k and below threshold
// k - 1. The last row, below all thresholds, is not read. NaN when K = 0.
constexpr int kSapLanes = 8;

VLTR_HD void sampled_average_precisions(const std::int64_t* tp, const std::int32_t* drawn, std::int64_t count,
                                        double* ap) {
  double sum[kSapLanes] = {};
  double fp[kSapLanes] = {};
  double previous = 0.0;
  for (std::int64_t k = 0; k < count; ++k) {
    const double hits = static_cast<double>(tp[k]);
    for (int lane = 0; lane < kSapLanes; ++lane) {
      fp[lane] += static_cast<double>(drawn[k * kSapLanes + lane]);
      sum[lane] += sampled_summand(hits, previous, fp[lane]);
    }
    previous = hits;
  }
  for (int lane = 0; lane < kSapLanes; ++lane) ap[lane] = count == 0 ? undefined() : sum[lane] / previous;
}

// ln(value), value >= 1, within a few units of the last digit: 2 atanh((f - 1) / (f + 1)) by its series, plus e ln 2,
// for value = f 2^e with f near 1. The logarithms of math libraries differ in their last bits.
VLTR_HD double natural_logarithm(double value) {
  constexpr double kLn2 = 0.69314718055994530942;
  double exponent = 0.0;
  for (; value > 1.41421356; value *= 0.5) exponent += 1.0;
  const double ratio = (value - 1.0) / (value + 1.0);
  const double square = ratio * ratio;  // below 0.0295: the first omitted term is below 2^-60 of the first term
  double series = 0.0;
  for (int odd = 23; odd > 0; odd -= 2) series = series * square + 1.0 / odd;
  return 2.0 * ratio * series + exponent * kLn2;
}

// The m-th harmonic number. Small m: the sum, smallest term first. Large m: the asymptotic series (NIST DLMF 5.11.2),
// whose first omitted term is below 2^-60.
VLTR_HD double harmonic_number(std::int64_t m) {
  constexpr double kEuler = 0.57721566490153286061;
  if (m < 64) {
    double sum = 0.0;
    for (std::int64_t i = m; i > 0; --i) sum += 1.0 / static_cast<double>(i);
    return sum;
  }
  const double inverse = 1.0 / static_cast<double>(m);
  const double square = inverse * inverse;
  const double tail = inverse / 2.0 - square * (1.0 / 12.0 - square * (1.0 / 120.0 - square / 252.0));
  return natural_logarithm(static_cast<double>(m)) + (kEuler + tail);
}

VLTR_HD double sampled_average_precision_chance(std::int64_t positives, std::int64_t negatives) {
  if (positives == 0) return undefined();
  const std::int64_t rows = positives + sap_draws(positives, negatives);
  if (rows == 1) return 1.0;
  const double m = static_cast<double>(rows);
  const double harmonic = harmonic_number(rows);
  return (static_cast<double>(positives - 1) / (m - 1.0) * (m - harmonic) + harmonic) / m;
}

}  // namespace vltr
