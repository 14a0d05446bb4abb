// Variances of single classes that need the scores: of the difference of two models, and of rows in clusters.
//
// Effects are rounded to integers once for each class, at an exponent that both models share. Their sums and the sums
// of their squares are exact, so that they have the same bits in any order, and are zero for models that rank alike.
#pragma once

#include "cpu/effect_tables.hpp"
#include "cpu/positives.hpp"
#include "cpu/row_effects.hpp"

namespace vltr::cpu {

// A model: its scores of all rows, and their table.
struct ScoredModel {
  const Matrix* scores;
  ScoredTable table;
};

// Clusters of rows, numbered from 0 to count - 1.
struct Clusters {
  const std::uint32_t* of_row = nullptr;  // (N)
  std::int64_t count = 0;
};

// The variance of the difference of a metric of two models on the same rows: (C), NaN where the metric is undefined.
//
//   AP, calibrated AP   P/(P-1) times the sum of squared differences of influences
//   ROC-AUC             DeLong: P/(P-1) times the squares of positives, n/(n-1) times those of negatives
//   SAP                 (N-1)/N times the sum of squared deviations of differences of drop-one effects
//
// Throws BadValue for the first NaN, of a before b, with the argument's name "scores_a" or "scores_b", and
// std::invalid_argument where a table is not that of the positives.
Array<double> paired_variances(const ScoredModel& a, const ScoredModel& b, const Positives& positives,
                               EffectMetric metric, double prevalence, const Runner& runner);

// The same where rows are clustered, or of one model if b is null: effects are added up within clusters, and the sum of
// squares of these is multiplied by G/(G-1), where G is the number of clusters with a positive. NaN if that is one.
// Sums of SAP are deviations from the mean of the rows.
Array<double> clustered_variances(const ScoredModel& a, const ScoredModel* b, const Positives& positives,
                                  const Clusters& clusters, EffectMetric metric, double prevalence,
                                  const Runner& runner);

}  // namespace vltr::cpu
