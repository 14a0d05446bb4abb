// Sampled AP (SAP) of one class: AP on all P positives and d = min(P, n) of its n negatives.
// "A Study on Action Detection in the Wild" (arXiv 1904.12993); the closed form and the chance level are ours.
//
//   one trial       the AP formula with H[k] drawn negatives at or above threshold k in the place of fp[k]
//   expectation     E[SAP] = 1/P sum_k (tp[k] - tp[k-1]) * E[tp[k] / (tp[k] + H)],  H ~ Hypergeometric(n, fp[k], d)
//   chance          the expected AP of a random order of P positives among m = P + d rows:
//                   1/m * (H_m + (P - 1)/(m - 1) * (m - H_m)),  H_m the m-th harmonic number
//
// In    tp, fp (K,) int64, thresholds descending
// Out   double   NaN when P = 0
// Bits  one fixed order, + - * / only: equal on host and device
// Test  csrc/tests/test_core.cpp, tests/eval/test_sampled.py (full enumeration, simulation)
#pragma once

#include "core/ap_core.hpp"

namespace vltr {

// E[tp / (tp + H)]. The probabilities are walked outward from the mode by their ratio, relative to the mode's, and the
// sum is normalised at the end; a side ends where its terms no longer change the sum.
VLTR_HD double expected_precision(std::int64_t tp, std::int64_t negatives, std::int64_t marked, std::int64_t draws) {
  const std::int64_t lowest = draws + marked > negatives ? draws + marked - negatives : 0;
  const std::int64_t highest = draws < marked ? draws : marked;
  std::int64_t mode =
      static_cast<std::int64_t>((static_cast<double>(draws) + 1.0) * (static_cast<double>(marked) + 1.0) /
                                (static_cast<double>(negatives) + 2.0));
  mode = mode < lowest ? lowest : mode > highest ? highest : mode;
  const double hits = static_cast<double>(tp);
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

// Draws of each trial: all negatives where there are no more of them than positives.
VLTR_HD std::int64_t sap_draws(std::int64_t positives, std::int64_t negatives) {
  return positives < negatives ? positives : negatives;
}

VLTR_HD double expected_sampled_average_precision(const std::int64_t* tp, const std::int64_t* fp, std::int64_t count,
                                                  std::int64_t negatives) {
  const std::int64_t draws = sap_draws(count == 0 ? 0 : tp[count - 1], negatives);
  return mean_over_positives(tp, count,
                             [=](std::int64_t k) { return expected_precision(tp[k], negatives, fp[k], draws); });
}

// What threshold k adds to a trial: `hits` positives and `fp` drawn negatives reach it, `previous` positives the
// threshold before.
VLTR_HD double sampled_summand(double hits, double previous, double fp) {
  return (hits - previous) * (hits / (hits + fp));
}

// AP of kSapLanes trials side by side, each summed in the same order: a processor runs them in lanes.
//
// drawn (K + 1, kSapLanes): how many drawn negatives of each trial lie in each gap, at or above threshold k and below
// threshold k - 1; the last row, below all thresholds, is not read. NaN when K = 0.
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

// From the harmonic number of the rows of a trial, summed from its smallest part 1 / rows up to 1.
VLTR_HD double sampled_average_precision_chance(double harmonic, std::int64_t positives, std::int64_t rows) {
  if (positives == 0) return undefined();
  if (rows == 1) return 1.0;
  const double m = static_cast<double>(rows);
  return (static_cast<double>(positives - 1) / (m - 1.0) * (m - harmonic) + harmonic) / m;
}

VLTR_HD double sampled_average_precision_chance(std::int64_t positives, std::int64_t negatives) {
  const std::int64_t rows = positives + sap_draws(positives, negatives);
  double harmonic = 0.0;
  for (std::int64_t i = rows; i > 0; --i) harmonic += 1.0 / static_cast<double>(i);
  return sampled_average_precision_chance(harmonic, positives, rows);
}

}  // namespace vltr
