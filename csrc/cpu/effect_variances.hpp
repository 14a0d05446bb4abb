// Variances of the metrics of single classes, from the effects of their rows.
#pragma once

#include "core/effect_core.hpp"
#include "cpu/class_statistics.hpp"

namespace vltr::cpu {

// (C) NaN where the metric is undefined, and where there is nothing to vary: for ROC-AUC with one positive or one
// negative.
//
//   AP, calibrated AP   the sum of squared influences
//   ROC-AUC             DeLong: squared influences of positives times P/(P-1), and those of negatives times n/(n-1)
//   SAP                 (N-1)/N times the sum of squared deviations of drop-one effects
Array<double> class_variances(const TableColumns& table, EffectMetric metric, double prevalence, const Runner& runner);

}  // namespace vltr::cpu
