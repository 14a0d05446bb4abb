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
// Cost  O(1) for the chance level; at most about 20,000 steps a threshold for the expectation, for any counts
// Bits  one fixed order, + - * / only: equal on host and device
// Test  csrc/tests/test_core.cpp, tests/eval/test_sampled.py (full enumeration, simulation)
#pragma once

#include "core/ap_core.hpp"

namespace vltr {

// If the variance of H is at least this, expected_precision uses its Taylor series around the mean of H.
constexpr double kSeriesVariance = 0x1p20;

// E[tp / (tp + H)].
//
// Small variance: the sum over H goes outward from the mode. Each probability, relative to that of the mode, follows
// from its neighbour by their ratio; the sum is normalised at the end. A side ends where its terms no longer change the
// sum. Large variance v: with x = tp + mean and p = tp / x, the series p (1 + v / x^2 - m3 / x^3 + m4 / x^4 - ...).
// Since v <= mean <= x, the term of m5 is below 10 v^-3, that of m6 below 15 v^-3, and m4 is 3 v^2 within a few v:
// together the terms left out are below 2^-55 of p.
VLTR_HD double expected_precision(std::int64_t tp, std::int64_t negatives, std::int64_t marked, std::int64_t draws) {
  const double hits = static_cast<double>(tp);
  const double n = static_cast<double>(negatives);
  const double m = static_cast<double>(marked);
  const double d = static_cast<double>(draws);
  const double mean = d * (m / n);
  const double variance = mean * ((n - m) / n) * ((n - d) / (n - 1.0));
  if (variance >= kSeriesVariance) {  // false for NaN, which it is without negatives
    const double x = hits + mean;
    const double spread = variance / (x * x);
    const double skew = spread * ((n - 2.0 * m) / n) * ((n - 2.0 * d) / (n - 2.0)) / x;
    return hits / x * (1.0 + (spread - skew + 3.0 * spread * spread));
  }
  const std::int64_t lowest = draws + marked > negatives ? draws + marked - negatives : 0;
  const std::int64_t highest = draws < marked ? draws : marked;
  std::int64_t mode = static_cast<std::int64_t>((d + 1.0) * (m + 1.0) / (n + 2.0));
  mode = mode < lowest ? lowest : mode > highest ? highest : mode;
  const double rest = static_cast<double>(negatives - marked - draws);
  constexpr double kNegligible = 1e-18;
  double weight = 1.0;
  double total = 1.0;
  double sum = hits / (hits + static_cast<double>(mode));
  for (std::int64_t h = mode; h < highest; ++h) {  // weight(h + 1) from weight(h)
    weight *= (static_cast<double>(marked - h) * static_cast<double>(draws - h)) /
              (static_cast<double>(h + 1) * (rest + static_cast<double>(h + 1)));
    total += weight;
    sum += weight * (hits / (hits + static_cast<double>(h + 1)));
    if (weight < kNegligible) break;
  }
  weight = 1.0;
  for (std::int64_t h = mode; h > lowest; --h) {  // weight(h - 1) from weight(h)
    weight *= (static_cast<double>(h) * (rest + static_cast<double>(h))) /
              (static_cast<double>(marked - h + 1) * static_cast<double>(draws - h + 1));
    total += weight;
    sum += weight * (hits / (hits + static_cast<double>(h - 1)));
    if (weight < kNegligible) break;
  }
  return sum / total;
}

// Draws of each trial: as many negatives as there are positives, or all if there are fewer.
VLTR_HD std::int64_t sap_draws(std::int64_t positives, std::int64_t negatives) {
  return positives < negatives ? positives : negatives;
}

VLTR_HD double expected_sampled_average_precision(const std::int64_t* tp, const std::int64_t* fp, std::int64_t count,
                                                  std::int64_t negatives) {
  const std::int64_t draws = sap_draws(count == 0 ? 0 : tp[count - 1], negatives);
  return mean_over_positives(tp, count,
                             [=](std::int64_t k) { return expected_precision(tp[k], negatives, fp[k], draws); });
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
