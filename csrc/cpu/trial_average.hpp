// AP of the trials of one class, eight trials at a time. Each sum keeps its fixed order.
#pragma once

#include "core/rank_table.hpp"
#include "core/sap_core.hpp"
#include "cpu/draws.hpp"
#include "cpu/trial_marks.hpp"

namespace vltr::cpu {

class TrialAverage {
 public:
  // tp (keys,): positives that reach each threshold, thresholds descending. AP of trial t goes to out[t * stride].
  void start(const std::int64_t* tp, std::int64_t keys, double* out, std::int64_t stride) {
    tp_ = tp;
    keys_ = keys;
    out_ = out;
    stride_ = stride;
    lane_ = 0;
    drawn_.assign((keys + 1) * kSapLanes, 0);
  }
  // Adds a trial. reached_by(i) is the number of thresholds that its i-th drawn score reaches. Most scores reach none.
  // They are not counted, because each increment of the same counter would wait for the one before.
  template <class ReachedBy>
  void add_trial(std::int64_t draws, const ReachedBy& reached_by) {
    std::int32_t* const below_all = drawn_.data() + keys_ * kSapLanes + lane_;
    constexpr std::int64_t kBlock = 256;
    std::uint32_t reached[kBlock];
    for (std::int64_t first = 0; first < draws; first += kBlock) {
      const std::int64_t end = std::min(draws, first + kBlock);
      std::int64_t count = 0;
      for (std::int64_t i = first; i < end; ++i) {
        reached[count] = reached_by(i);
        count += reached[count] != 0;
      }
      for (std::int64_t i = 0; i < count; ++i) ++below_all[-std::int64_t{reached[i]} * kSapLanes];
    }
    if (++lane_ == kSapLanes) finish();
  }
  // Adds a trial from counts: drawn[k] scores are at or above threshold k and below threshold k - 1.
  void add_trial(const std::int32_t* drawn) {
    for (std::int64_t k = 0; k < keys_; ++k) drawn_[k * kSapLanes + lane_] = drawn[k];
    if (++lane_ == kSapLanes) finish();
  }
  // Writes the AP of the trials since the last full group of eight. Call it once after the last trial.
  void finish() {
    double ap[kSapLanes];
    average_counted_(tp_, drawn_.data(), keys_, ap);
    for (int lane = 0; lane < lane_; ++lane) out_[lane * stride_] = ap[lane];
    out_ += lane_ * stride_;
    lane_ = 0;
    std::fill(drawn_.begin(), drawn_.end(), 0);
  }

 private:
  AverageCounted average_counted_ = average_counted_kernel();
  const std::int64_t* tp_ = nullptr;
  std::int64_t keys_ = 0;
  double* out_ = nullptr;
  std::int64_t stride_ = 0;
  int lane_ = 0;
  Array<std::int32_t> drawn_;
};

// Writes the AP of a class as that of each trial: its trials take all negatives.
inline void repeat_average_precision(const RankTable& table, std::int64_t c, std::int64_t trials, double* out) {
  const std::int64_t first = table.offset.first(c);
  const double all = average_precision(table.tp.data() + first, table.fp.data() + first, table.offset.length(c));
  for (std::int64_t trial = 0; trial < trials; ++trial) out[trial * table.offset.lists() + c] = all;
}

// AP of trial t and class c goes to out[t * C + c], for each of the given classes. add_trials(c, draws, average) must
// add the trials of class c, each with `draws` draws. It is not called for classes whose trials take all negatives:
// their AP is the AP of the class.
template <class AddTrials>
void average_trials(const RankTable& table, const ClassRows& rows, const Array<std::int64_t>& classes,
                    std::int64_t trials, double* out, const Runner& runner, const AddTrials& add_trials) {
  const std::int64_t stride = table.offset.lists();
  runner.run(classes.count(), [&](std::int64_t i, int) {
    const std::int64_t c = classes[i];
    const std::int64_t first = table.offset.first(c);
    const std::int64_t keys = table.offset.length(c);
    const std::int64_t* const tp = table.tp.data() + first;
    const std::int64_t positives = keys == 0 ? 0 : tp[keys - 1];
    const std::int64_t draws = draws_per_trial(positives, rows[c] - positives);
    if (draws == 0) {
      repeat_average_precision(table, c, trials, out);
      return;
    }
    TrialAverage average;
    average.start(tp, keys, out + c, stride);
    add_trials(c, draws, average);
    average.finish();
  });
}

}  // namespace vltr::cpu
