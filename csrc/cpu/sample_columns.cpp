#include "cpu/sample_columns.hpp"

#include "cpu/columns.hpp"
#include "cpu/trial_average.hpp"
#include "cpu/trial_marks.hpp"

namespace vltr::cpu {
namespace {

// True if a class is sampled by marks (trial_marks.hpp): its trials draw a large part of its negatives. Marks cost
// about 2 ns for each draw and 0.15 ns for each negative and trial; a look-up costs 6 to 11 ns for each draw (AMD EPYC
// with AVX-512).
bool by_marks(std::int64_t draws, std::int64_t negatives) { return negatives >= 1024 && 32 * draws >= negatives; }

// Moves the displaced negatives of a column to their numbers. The number of a draw is then its index in the column.
void move_displaced(const std::uint32_t* positives, std::uint32_t count, std::uint32_t rows,
                    Array<std::uint32_t>& displaced, std::uint32_t* column) {
  displaced.resize(count);
  const std::uint32_t moved = displaced_negatives(positives, count, rows, displaced.data());
  for (std::uint32_t i = 0; i < moved; ++i) column[positives[i]] = column[displaced[i]];
}

// Looks up each draw of the classes.
template <class T>
void look_up_trials(const Matrix& scores, const Positives& positives, const Thresholds<LaneOf<T>>& thresholds,
                    const RankTable& table, const Array<std::int64_t>& classes, std::int64_t trials, std::uint64_t seed,
                    const Runner& runner, double* out) {
  struct Scratch {
    Array<std::uint32_t> displaced;
    Array<std::uint32_t> numbers;
    TrialAverage average;
  };
  Array<Scratch> scratch(std::max(runner.threads, 1));
  const DrawNumbers draw_numbers = draw_numbers_kernel();
  // Columns are read again for each block of trials, so that items stay short and the call can be cancelled soon. A
  // block has so many draws that this reading costs little.
  constexpr std::int64_t kDrawsPerBlock = std::int64_t{1} << 21;
  std::int64_t most_draws = 1;
  for (const std::int64_t c : classes) {
    most_draws = std::max(most_draws, draws_per_trial(positives, scores.rows, c));
  }
  const std::int64_t block = std::clamp<std::int64_t>(kDrawsPerBlock / most_draws, 1, trials);
  for (std::int64_t first_trial = 0; first_trial < trials; first_trial += block) {
    const std::int64_t end_trial = std::min(trials, first_trial + block);
    const auto all_trials = static_cast<double>(trials);
    const Runner of_block =
        runner.share(static_cast<double>(first_trial) / all_trials, static_cast<double>(end_trial) / all_trials);
    const auto sample = [&](std::int64_t c, std::uint32_t* reached, int worker) {
      const std::int64_t first = table.offset.first(c);
      Scratch& local = scratch[worker];
      const auto rows = static_cast<std::uint32_t>(scores.rows);
      const auto draws = static_cast<std::uint32_t>(draws_per_trial(positives, scores.rows, c));
      move_displaced(positives.rows_of(c).data(), draws, rows, local.displaced, reached);
      local.numbers.resize(draws);
      local.average.start(table.tp.data() + first, table.offset.length(c), out + first_trial * scores.cols + c,
                          scores.cols);
      KeyedPermutation permutation = permutation_grid(rows - draws);
      for (std::int64_t trial = first_trial; trial < end_trial; ++trial) {
        set_keys(permutation, seed, static_cast<std::uint32_t>(c), static_cast<std::uint32_t>(trial));
        draw_numbers(permutation, draws, local.numbers.data());
        local.average.add_trial(
            draws, [reached, numbers = local.numbers.data()](std::int64_t i) { return reached[numbers[i]]; });
      }
      local.average.finish();
    };
    for_each_column<T>(scores, thresholds, {classes.data(), classes.count()}, of_block, sample);
  }
}

// The trials that are sampled in one item: so few that there is work for all threads, that the call polls often enough,
// and that marks and planes of a worker take 16 MiB each, or one byte for each negative if that is more.
std::int64_t trials_per_item(std::int64_t draws, std::int64_t negatives, std::int64_t trials, std::int64_t items) {
  constexpr std::int64_t kPlaneBits = std::int64_t{1} << 27;
  constexpr std::int64_t kItemNanoseconds = 40'000'000;
  const std::int64_t trial_nanoseconds = 3 * std::min(draws, negatives - draws) + negatives / 4;
  const std::int64_t most = std::min(
      {std::int64_t{64}, kPlaneBits / negatives, kItemNanoseconds / trial_nanoseconds, (trials + items - 1) / items});
  std::int64_t lanes = 8;
  while (2 * lanes <= most || (lanes < 64 && lanes < most)) lanes *= 2;
  const std::int64_t groups = (trials + lanes - 1) / lanes;
  return (trials + groups - 1) / groups;
}

// Samples classes by marks, a few at a time: first their negatives are listed by score, then each item samples some
// trials of a class.
template <class T>
void mark_trials(const Matrix& scores, const Positives& positives, const Thresholds<LaneOf<T>>& thresholds,
                 const RankTable& table, const Array<std::int64_t>& classes, std::int64_t trials, std::uint64_t seed,
                 const Runner& runner, double* out) {
  struct Scratch {
    Array<std::uint32_t> displaced;
    Array<std::uint32_t> next;
    MarkScratch marks;
  };
  const AverageMarked average_marked = average_marked_kernel();
  const std::int64_t workers = std::max(runner.threads, 1);
  Array<Scratch> scratch(workers);
  const std::int64_t at_once =
      std::max(workers, kColumnScratchBytes / (scores.rows * static_cast<std::int64_t>(sizeof(std::uint32_t))));
  Array<LargeArray<std::uint32_t>> by_score(std::min(at_once, classes.count()));
  for (std::int64_t begin = 0; begin < classes.count(); begin += at_once) {
    const std::int64_t count = std::min(at_once, classes.count() - begin);
    const auto fraction = [&](std::int64_t done) {
      return static_cast<double>(done) / static_cast<double>(classes.count());
    };
    const Runner of_classes = runner.share(fraction(begin), fraction(begin + count));
    const double listing = 10.0 / (10.0 + static_cast<double>(trials));
    const Span<const std::int64_t> chosen{classes.data() + begin, count};
    const auto list = [&](std::int64_t c, std::uint32_t* reached, int worker) {
      Scratch& local = scratch[worker];
      const auto rows = static_cast<std::uint32_t>(scores.rows);
      const auto draws = static_cast<std::uint32_t>(draws_per_trial(positives, scores.rows, c));
      move_displaced(positives.rows_of(c).data(), draws, rows, local.displaced, reached);
      const std::int64_t first = table.offset.first(c);
      const std::int64_t keys = table.offset.length(c);
      const std::int64_t* const fp = table.fp.data() + first;
      // next[r]: where the next negative that reaches r thresholds goes.
      local.next.resize(keys + 1);
      for (std::int64_t k = 0; k < keys; ++k) local.next[keys - k] = static_cast<std::uint32_t>(k == 0 ? 0 : fp[k - 1]);
      LargeArray<std::uint32_t>& numbers = by_score[std::lower_bound(chosen.begin(), chosen.end(), c) - chosen.begin()];
      numbers.resize(keys == 0 ? 0 : fp[keys - 1]);
      std::uint32_t* const next = local.next.data();
      std::uint32_t* const to = numbers.data();
      for (std::uint32_t number = 0; number < rows - draws; ++number) {
        if (reached[number] != 0) to[next[reached[number]]++] = number;
      }
    };
    for_each_column<T>(scores, thresholds, chosen, of_classes.share(0.0, listing), list);

    struct Item {
      std::int64_t cls;  // in `chosen`
      std::int64_t first;
      std::int64_t count;
    };
    Array<Item> items;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t draws = draws_per_trial(positives, scores.rows, chosen[i]);
      const std::int64_t step =
          trials_per_item(draws, scores.rows - draws, trials, std::max<std::int64_t>(1, workers / count));
      for (std::int64_t trial = 0; trial < trials; trial += step) {
        items.push_back({i, trial, std::min(step, trials - trial)});
      }
    }
    of_classes.share(listing, 1.0).run(items.count(), [&](std::int64_t index, int worker) {
      const Item& item = items[index];
      const std::int64_t c = chosen[item.cls];
      const std::int64_t first = table.offset.first(c);
      const std::int64_t draws = draws_per_trial(positives, scores.rows, c);
      const MarkedClass marked{by_score[item.cls].data(),
                               table.tp.data() + first,
                               table.fp.data() + first,
                               table.offset.length(c),
                               static_cast<std::uint32_t>(scores.rows - draws),
                               static_cast<std::uint32_t>(draws),
                               static_cast<std::uint32_t>(c),
                               seed};
      average_marked(marked, item.first, item.count, scratch[worker].marks, out + item.first * scores.cols + c,
                     scores.cols);
    });
  }
}

}  // namespace

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
  Array<double> out(trials * scores.cols);
  Array<std::int64_t> looked_up;
  Array<std::int64_t> marked;
  double looked_up_work = 0.0;
  double marked_work = 0.0;
  for (std::int64_t c = 0; c < scores.cols; ++c) {
    const std::int64_t draws = draws_per_trial(positives, scores.rows, c);
    if (draws == 0) {
      const std::int64_t first = table.offset.first(c);
      const double all = average_precision(table.tp.data() + first, table.fp.data() + first, table.offset.length(c));
      for (std::int64_t trial = 0; trial < trials; ++trial) out[trial * scores.cols + c] = all;
    } else if (by_marks(draws, scores.rows - draws)) {
      marked.push_back(c);
      marked_work += static_cast<double>(2 * draws + scores.rows / 8);
    } else {
      looked_up.push_back(c);
      looked_up_work += static_cast<double>(8 * draws);
    }
  }
  const Phases phases(runner, {looked_up_work, marked_work});
  if (!looked_up.empty()) {
    look_up_trials<T>(scores, positives, thresholds, table, looked_up, trials, seed, phases.phase(0), out.data());
  }
  if (!marked.empty()) {
    mark_trials<T>(scores, positives, thresholds, table, marked, trials, seed, phases.phase(1), out.data());
  }
  return out;
}

#define VLTR_SAMPLE(T)                                                                                    \
  template Array<double> sample_columns<T>(const Matrix&, const Positives&, const Thresholds<LaneOf<T>>&, \
                                           const RankTable&, std::int64_t, std::uint64_t, const Runner&);
VLTR_FOR_EACH_ELEMENT(VLTR_SAMPLE)
#undef VLTR_SAMPLE

}  // namespace vltr::cpu
