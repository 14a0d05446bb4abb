#include "cpu/sample_columns.hpp"

#include "cpu/columns.hpp"
#include "cpu/trial_average.hpp"

namespace vltr::cpu {
bool draws_fit_in_pass(const Matrix& scores, const Positives& positives, int trials) {
  const auto element = static_cast<std::int64_t>(
      with_element_type(scores.dtype, [](auto tag) { return sizeof(typename decltype(tag)::type); }));
  std::int64_t draws = 0;
  for (std::int64_t c = 0; c < scores.cols; ++c) draws += draws_per_trial(positives, scores.rows, c);
  const std::int64_t room = std::max(kColumnScratchBytes, scores.rows * scores.cols * element / 8);
  return draws == 0 || trials <= std::min(room / DrawPlan::kBytesPerDraw, kMaxRows) / draws;
}

template <class T>
std::vector<double> sample_columns(const Matrix& scores, const Positives& positives,
                                   const Thresholds<LaneOf<T>>& thresholds, const RankTable& table, int trials,
                                   std::uint64_t seed, const Runner& runner) {
  struct Scratch {
    std::vector<std::uint32_t> displaced;
    std::vector<std::uint32_t> numbers;
    TrialAverage average;
  };
  std::vector<Scratch> scratch(static_cast<std::size_t>(std::max(runner.threads, 1)));
  std::vector<double> out(static_cast<std::size_t>(trials * scores.cols));
  const DrawNumbers draw_numbers = draw_numbers_kernel();
  // Columns are read again for each block of trials, so that an item stays short enough for its caller to be cancelled.
  // A block has so many draws that the reading hardly counts.
  constexpr std::int64_t kDrawsPerBlock = std::int64_t{1} << 21;
  std::int64_t most_draws = 1;
  for (std::int64_t c = 0; c < scores.cols; ++c) {
    most_draws = std::max(most_draws, draws_per_trial(positives, scores.rows, c));
  }
  const auto block = static_cast<int>(std::clamp<std::int64_t>(kDrawsPerBlock / most_draws, 1, trials));
  for (int first_trial = 0; first_trial < trials; first_trial += block) {
    const int end_trial = std::min(trials, first_trial + block);
    const Runner of_block =
        runner.part(static_cast<double>(first_trial) / trials, static_cast<double>(end_trial) / trials);
    for_each_column<T>(scores, thresholds, of_block, [&](std::int64_t c, std::uint32_t* reached, int worker) {
      const std::int64_t first = table.offset[static_cast<std::size_t>(c)];
      const std::int64_t keys = table.offset[static_cast<std::size_t>(c) + 1] - first;
      const auto draws = static_cast<std::uint32_t>(draws_per_trial(positives, scores.rows, c));
      double* const ap = out.data() + first_trial * scores.cols + c;
      if (draws == 0) {
        const double all = average_precision(table.tp.data() + first, table.fp.data() + first, keys);
        for (int trial = 0; trial < end_trial - first_trial; ++trial) ap[trial * scores.cols] = all;
        return;
      }
      // In the column itself the displaced negatives move to their numbers, and the number of a draw is its place.
      Scratch& own = scratch[static_cast<std::size_t>(worker)];
      const auto rows = static_cast<std::uint32_t>(scores.rows);
      const std::uint32_t* positive = positives.rows.data() + positives.offset[static_cast<std::size_t>(c)];
      own.displaced.resize(draws);
      const std::uint32_t moved = displaced_negatives(positive, draws, rows, own.displaced.data());
      for (std::uint32_t i = 0; i < moved; ++i) reached[positive[i]] = reached[own.displaced[i]];
      own.numbers.resize(draws);
      own.average.start(table.tp.data() + first, keys, ap, scores.cols);
      KeyedPermutation permutation = permutation_grid(rows - draws);
      for (int trial = first_trial; trial < end_trial; ++trial) {
        set_keys(permutation, seed, static_cast<std::uint32_t>(c), static_cast<std::uint32_t>(trial));
        draw_numbers(permutation, draws, own.numbers.data());
        own.average.add_trial(draws,
                              [reached, numbers = own.numbers.data()](std::int64_t i) { return reached[numbers[i]]; });
      }
      own.average.finish();
    });
  }
  return out;
}

#define VLTR_SAMPLE(T)                                                                                          \
  template std::vector<double> sample_columns<T>(const Matrix&, const Positives&, const Thresholds<LaneOf<T>>&, \
                                                 const RankTable&, int, std::uint64_t, const Runner&);
VLTR_FOR_EACH_ELEMENT(VLTR_SAMPLE)
#undef VLTR_SAMPLE

}  // namespace vltr::cpu
