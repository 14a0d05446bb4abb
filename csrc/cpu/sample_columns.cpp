#include "cpu/sample_columns.hpp"

#include "cpu/columns.hpp"
#include "cpu/trial_average.hpp"

namespace vltr::cpu {

bool draws_fit_in_pass(const Matrix& scores, const Positives& positives, std::int64_t trials) {
  const auto element = static_cast<std::int64_t>(
      with_element_type(scores.dtype, [](auto tag) { return sizeof(typename decltype(tag)::type); }));
  std::int64_t draws = 0;
  for (std::int64_t c = 0; c < scores.cols; ++c) draws += draws_per_trial(positives, scores.rows, c);
  const std::int64_t room = std::max(kColumnScratchBytes, scores.rows * scores.cols * element / 8);
  return draws == 0 || trials <= std::min(room / DrawPlan::kBytesPerDraw, kMaxRows) / draws;
}

template <class T>
Array<double> sample_columns(const Matrix& scores, const Positives& positives, const Thresholds<LaneOf<T>>& thresholds,
                             const RankTable& table, std::int64_t trials, std::uint64_t seed, const Runner& runner) {
  struct Scratch {
    Array<std::uint32_t> displaced;
    Array<std::uint32_t> numbers;
    TrialAverage average;
  };
  Array<Scratch> scratch(std::max(runner.threads, 1));
  Array<double> out(trials * scores.cols);
  const DrawNumbers draw_numbers = draw_numbers_kernel();
  // Columns are read again for each block of trials, so that items stay short and the call can be cancelled soon. A
  // block has so many draws that this reading costs little.
  constexpr std::int64_t kDrawsPerBlock = std::int64_t{1} << 21;
  std::int64_t most_draws = 1;
  for (std::int64_t c = 0; c < scores.cols; ++c) {
    most_draws = std::max(most_draws, draws_per_trial(positives, scores.rows, c));
  }
  const std::int64_t block = std::clamp<std::int64_t>(kDrawsPerBlock / most_draws, 1, trials);
  for (std::int64_t first_trial = 0; first_trial < trials; first_trial += block) {
    const std::int64_t end_trial = std::min(trials, first_trial + block);
    const auto all_trials = static_cast<double>(trials);
    const Runner of_block =
        runner.share(static_cast<double>(first_trial) / all_trials, static_cast<double>(end_trial) / all_trials);
    for_each_column<T>(scores, thresholds, of_block, [&](std::int64_t c, std::uint32_t* reached, int worker) {
      const std::int64_t first = table.offset.first(c);
      const std::int64_t keys = table.offset.length(c);
      const auto draws = static_cast<std::uint32_t>(draws_per_trial(positives, scores.rows, c));
      double* const ap = out.data() + first_trial * scores.cols + c;
      if (draws == 0) {
        const double all = average_precision(table.tp.data() + first, table.fp.data() + first, keys);
        for (std::int64_t trial = 0; trial < end_trial - first_trial; ++trial) ap[trial * scores.cols] = all;
        return;
      }
      // The displaced negatives move to their numbers within the column. The number of a draw is then its index.
      Scratch& local = scratch[worker];
      const auto rows = static_cast<std::uint32_t>(scores.rows);
      const std::uint32_t* positive = positives.rows_of(c).data();
      local.displaced.resize(draws);
      const std::uint32_t moved = displaced_negatives(positive, draws, rows, local.displaced.data());
      for (std::uint32_t i = 0; i < moved; ++i) reached[positive[i]] = reached[local.displaced[i]];
      local.numbers.resize(draws);
      local.average.start(table.tp.data() + first, keys, ap, scores.cols);
      KeyedPermutation permutation = permutation_grid(rows - draws);
      for (std::int64_t trial = first_trial; trial < end_trial; ++trial) {
        set_keys(permutation, seed, static_cast<std::uint32_t>(c), static_cast<std::uint32_t>(trial));
        draw_numbers(permutation, draws, local.numbers.data());
        local.average.add_trial(
            draws, [reached, numbers = local.numbers.data()](std::int64_t i) { return reached[numbers[i]]; });
      }
      local.average.finish();
    });
  }
  return out;
}

#define VLTR_SAMPLE(T)                                                                                    \
  template Array<double> sample_columns<T>(const Matrix&, const Positives&, const Thresholds<LaneOf<T>>&, \
                                           const RankTable&, std::int64_t, std::uint64_t, const Runner&);
VLTR_FOR_EACH_ELEMENT(VLTR_SAMPLE)
#undef VLTR_SAMPLE

}  // namespace vltr::cpu
