// AP of the trials of one class, eight trials at a time: their sums run side by side, each in its one fixed order.
#pragma once

#include <vector>

#include "core/sap_core.hpp"

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

}  // namespace vltr::cpu
