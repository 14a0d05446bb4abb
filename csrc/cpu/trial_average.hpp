// AP of the trials of one class, eight trials at a time: their sums run side by side, each in its one fixed order.
#pragma once

#include "core/rank_table.hpp"
#include "core/sap_core.hpp"
#include "cpu/draws.hpp"

namespace vltr::cpu {

class TrialAverage {
 public:
  // tp (keys,): positives that reach each threshold, descending. out: AP of trial t goes to out[t * stride].
  void start(const std::int64_t* tp, std::int64_t keys, double* out, std::int64_t stride) {
    tp_ = tp;
    keys_ = keys;
    out_ = out;
    stride_ = stride;
    lane_ = 0;
    drawn_.assign(static_cast<std::size_t>((keys + 1) * kSapLanes), 0);
  }
  // Adds a trial: reached_by(i) is how many thresholds its i-th drawn score reaches.
  template <class ReachedBy>
  void add_trial(std::int64_t draws, const ReachedBy& reached_by) {
    std::int32_t* const below_all = drawn_.data() + keys_ * kSapLanes + lane_;
    for (std::int64_t i = 0; i < draws; ++i) ++below_all[-static_cast<std::int64_t>(reached_by(i)) * kSapLanes];
    if (++lane_ == kSapLanes) finish();
  }
  // Adds a trial that has been counted: drawn[k] scores lie at or above threshold k and below threshold k - 1.
  void add_trial(const std::int32_t* drawn) {
    for (std::int64_t k = 0; k < keys_; ++k) drawn_[static_cast<std::size_t>(k * kSapLanes + lane_)] = drawn[k];
    if (++lane_ == kSapLanes) finish();
  }
  // Writes the trials that have ended since the last eight. Call once after the last trial.
  void finish() {
    double ap[kSapLanes];
    sampled_average_precisions(tp_, drawn_.data(), keys_, ap);
    for (int lane = 0; lane < lane_; ++lane) out_[lane * stride_] = ap[lane];
    out_ += lane_ * stride_;
    lane_ = 0;
    std::fill(drawn_.begin(), drawn_.end(), 0);
  }

 private:
  const std::int64_t* tp_ = nullptr;
  std::int64_t keys_ = 0;
  double* out_ = nullptr;
  std::int64_t stride_ = 0;
  int lane_ = 0;
  std::vector<std::int32_t> drawn_;
};

// AP of each trial and class, (trials, C) row-major. add_trials(c, draws, average) adds the trials of a class, each of
// so many draws; where trials take all negatives it is not called, and each is the AP of the class itself.
template <class AddTrials>
std::vector<double> average_trials(const RankTable& table, std::int64_t rows, std::int64_t trials, const Runner& runner,
                                   const AddTrials& add_trials) {
  const auto classes = static_cast<std::int64_t>(table.offset.size()) - 1;
  std::vector<double> out(static_cast<std::size_t>(trials * classes));
  runner.run(classes, [&](std::int64_t c, int) {
    const std::int64_t first = table.offset[static_cast<std::size_t>(c)];
    const std::int64_t keys = table.offset[static_cast<std::size_t>(c) + 1] - first;
    const std::int64_t* const tp = table.tp.data() + first;
    const std::int64_t draws = draws_per_trial(keys == 0 ? 0 : tp[keys - 1], rows);
    if (draws == 0) {
      const double all = average_precision(tp, table.fp.data() + first, keys);
      for (std::int64_t trial = 0; trial < trials; ++trial) out[static_cast<std::size_t>(trial * classes + c)] = all;
      return;
    }
    TrialAverage average;
    average.start(tp, keys, out.data() + c, classes);
    add_trials(c, draws, average);
    average.finish();
  });
  return out;
}

}  // namespace vltr::cpu
