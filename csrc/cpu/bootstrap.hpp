// The bootstrap: metrics of every class in resampled data sets, without making them.
//
// A row counts as often as its weight says (core/bootstrap_core.hpp). The rows that reach a threshold of a class are
// listed by bucket once. For each block of replicates, the weights of all units are drawn once and shared by all
// classes; each class adds the weights of its lists, many replicates to an instruction.
//
// Bits    those of the metrics of the resampled data set, for any threads, instruction set and block; ROC-AUC while
//         twice the number of pairs is below 2^53
// Memory  kBootstrapBytes beside inputs and results, or for one large class, if that is more, 20 bytes for each row and
//         100 for each of its positives
// Test    tests/eval/test_bootstrap.py
#pragma once

#include "core/bootstrap_core.hpp"
#include "core/large_array.hpp"
#include "cpu/positives.hpp"

namespace vltr::cpu {

constexpr std::int64_t kBootstrapBytes = std::int64_t{128} << 20;

// The units that are resampled.
struct Units {
  std::int64_t count = 0;
  const std::uint32_t* of_row = nullptr;  // (N), below count; null if each row is a unit
};

struct BootstrapRequest {
  Resampling method = Resampling::kPoisson;
  std::uint64_t seed = 0;
  std::int64_t replicates = 0;  // below 2^31
  bool average_precision = false;
  bool roc_auc = false;
  bool expected_sap = false;
  const std::int32_t* ranks = nullptr;  // (N) for Acc@k: classes that rank before the row's best label, or -1
  Span<const std::int32_t> topk{nullptr, 0};
};

// (replicates, C) each, empty unless requested. NaN where a replicate has no positive of the class, or, for ROC-AUC, no
// negative.
struct BootstrapResult {
  TableColumn<double> average_precision;
  TableColumn<double> roc_auc;
  TableColumn<double> expected_sap;
  TableColumn<double> class_accuracy;  // (topk, replicates, C): hits among the positive rows of the class
  TableColumn<double> accuracy;        // (topk, replicates): hits among the rows with a label
};

// Throws the errors of rank_scan().
BootstrapResult bootstrap(const Matrix& scores, const Positives& positives, const Units& units,
                          const BootstrapRequest& request, const Runner& runner);

// Writes the weights of replicates first to first + replicates - 1: (replicates, units).
void bootstrap_weights(Resampling method, std::uint64_t seed, std::int64_t first, std::int64_t replicates,
                       std::int64_t units, std::uint8_t* weights, const Runner& runner);

}  // namespace vltr::cpu
