#include "cpu/sample_columns.hpp"

#include "cpu/columns.hpp"
#include "cpu/dense_class.hpp"
#include "cpu/score_order.hpp"
#include "cpu/trial_average.hpp"
#include "cpu/trial_marks.hpp"

namespace vltr::cpu {
namespace {

// True if a class is sampled by marks (trial_marks.hpp): its trials draw a large part of its negatives. With many
// trials at once, marks cost about 1.7 ns for each draw and 0.12 ns for each negative and trial; a look-up costs 6 ns
// for each draw of 90,000 negatives and 9 ns of 900,000 (AMD EPYC with AVX-512).
bool by_marks(std::int64_t draws, std::int64_t negatives) { return negatives >= 1024 && 32 * draws >= negatives; }

// Moves the displaced negatives of a column to their numbers. The number of a draw is then its index in the column.
// excluded: the rows that are no negatives.
template <class Element>
void move_displaced(Span<const std::uint32_t> excluded, std::uint32_t rows, Array<std::uint32_t>& displaced,
                    Element* column) {
  displaced.resize(excluded.size());
  const auto count = static_cast<std::uint32_t>(excluded.size());
  const std::uint32_t moved = displaced_negatives(excluded.data(), count, rows, displaced.data());
  for (std::uint32_t i = 0; i < moved; ++i) column[excluded[i]] = column[displaced[i]];
}

// Looks up each draw of the classes.
template <class T>
void look_up_trials(const Matrix& scores, const Positives& positives, const Thresholds<LaneOf<T>>& thresholds,
                    const RankTable& table, const Array<std::int64_t>& classes, std::int64_t trials, std::uint64_t seed,
                    const Runner& runner, double* out) {
  struct Scratch {
    Array<std::uint32_t> excluded;
    Array<std::uint32_t> displaced;
    Array<std::uint32_t> numbers;
    Array<std::uint64_t> reaching;
    TrialAverage average;
  };
  Array<Scratch> scratch(std::max(runner.threads, 1));
  const DrawNumbers draw_numbers = draw_numbers_kernel();
  // Columns are read again for each block of trials, so that items stay short and the call can be cancelled soon. A
  // block has so many draws that this reading costs little.
  constexpr std::int64_t kDrawsPerBlock = std::int64_t{1} << 21;
  std::int64_t most_draws = 1;
  for (const std::int64_t c : classes) {
    most_draws = std::max(most_draws, draws_per_trial(positives, class_rows(scores), c));
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
      const auto draws = static_cast<std::uint32_t>(draws_per_trial(positives, class_rows(scores), c));
      const auto excluded = excluded_rows(positives, scores.unknown, c, local.excluded);
      const std::uint32_t negatives = rows - static_cast<std::uint32_t>(excluded.size());
      move_displaced(excluded, rows, local.displaced, reached);
      local.numbers.resize(draws);
      std::uint32_t* const numbers = local.numbers.data();
      local.average.start(table.tp.data() + first, table.offset.length(c), out + first_trial * scores.cols + c,
                          scores.cols);
      // If most negatives reach no threshold, one bit of each, in the nearest cache, tells which draws need a look-up.
      const std::int64_t keys = table.offset.length(c);
      const bool few_reach = keys > 0 && 2 * table.fp[first + keys - 1] < negatives;
      if (few_reach) {
        local.reaching.assign((rows + 63) / 64, 0);
        for (std::uint32_t i = 0; i < negatives; ++i) {
          local.reaching[i / 64] |= static_cast<std::uint64_t>(reached[i] != 0) << (i % 64);
        }
      }
      KeyedPermutation permutation = permutation_grid(negatives);
      for (std::int64_t trial = first_trial; trial < end_trial; ++trial) {
        set_keys(permutation, seed, static_cast<std::uint32_t>(c), static_cast<std::uint32_t>(trial));
        draw_numbers(permutation, draws, numbers);
        std::uint32_t count = draws;
        if (few_reach) {
          const std::uint64_t* const reaching = local.reaching.data();
          count = 0;
          for (std::uint32_t i = 0; i < draws; ++i) {
            const std::uint32_t number = numbers[i];
            numbers[count] = number;
            count += static_cast<std::uint32_t>(reaching[number / 64] >> (number % 64) & 1u);
          }
        }
        local.average.add_trial(count, [reached, numbers](std::int64_t i) { return reached[numbers[i]]; });
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

// Samples classes by marks, a few at a time. First their columns are copied, then their negatives are listed by score,
// and then each item samples some trials of a class.
template <class T>
class MarkedTrials {
  using Lane = LaneOf<T>;

 public:
  MarkedTrials(const Matrix& scores, const Positives& positives, const RankTable& table, std::int64_t trials,
               std::uint64_t seed, double* out, const Runner& runner)
      : scores_(scores),
        positives_(positives),
        table_(table),
        keys_(std::get<TableColumn<Lane>>(table.thresholds).data()),
        trials_(trials),
        seed_(seed),
        out_(out),
        workers_(std::max(runner.threads, 1)),
        marks_(workers_) {}

  // A class takes kBytesPerRow for each row, until its negatives are listed. They are listed four bytes each.
  void run(const Array<std::int64_t>& classes, const Runner& runner) {
    constexpr std::int64_t kBytesPerRow = 2 * sizeof(Lane) + 2 * sizeof(std::uint32_t);
    const std::int64_t at_once = std::max(workers_, kColumnScratchBytes / (scores_.rows * kBytesPerRow));
    const std::int64_t steps = (classes.count() + at_once - 1) / at_once;
    for (std::int64_t step = 0; step < steps; ++step) {
      const std::int64_t first = step * classes.count() / steps;
      const std::int64_t end = (step + 1) * classes.count() / steps;
      const auto fraction = [&](std::int64_t done) {
        return static_cast<double>(done) / static_cast<double>(classes.count());
      };
      run({classes.data() + first, end - first}, runner.share(fraction(first), fraction(end)));
    }
  }

 private:
  struct Listed {
    std::int64_t cls;
    std::uint32_t draws;
    std::uint32_t negatives;
    LargeArray<Lane> moved_scores;
    LargeArray<std::uint32_t> moved;
    LargeArray<std::uint32_t> by_score;
  };

  void run(Span<const std::int64_t> classes, const Runner& runner) {
    const auto cells = static_cast<double>(scores_.rows) * static_cast<double>(classes.size());
    const Phases phases(runner, {cells, 8.0 * cells, 0.3 * cells * static_cast<double>(trials_)});
    Array<Listed> listed(classes.size());
    {
      const std::int64_t stride = scores_.rows + 16;
      columns_.resize(classes.size() * stride);
      copy(classes, stride, phases.phase(0));
      for (std::int64_t i = 0; i < classes.size(); ++i) {
        listed[i].cls = classes[i];
        listed[i].draws = static_cast<std::uint32_t>(draws_per_trial(positives_, class_rows(scores_), classes[i]));
        listed[i].negatives =
            static_cast<std::uint32_t>(class_rows(scores_)[classes[i]] - positives_.offset.length(classes[i]));
      }
      list(listed, stride, phases.phase(1));
    }
    sample(listed, phases.phase(2));
  }

  void copy(Span<const std::int64_t> classes, std::int64_t stride, const Runner& runner) {
    const Array<ColumnGroup> groups = column_groups(classes, 16);
    const Array<Tile> tiles = row_tiles(scores_, kTileRows);
    constexpr std::int64_t kTilesPerItem = 32;
    const std::int64_t parts = (tiles.count() + kTilesPerItem - 1) / kTilesPerItem;
    const CopyColumns<Lane> copy_columns = copy_columns_kernel<T>();
    runner.run(groups.count() * parts, [&](std::int64_t item, int) {
      const ColumnGroup group = groups[item % groups.count()];
      const std::int64_t slot = std::lower_bound(classes.begin(), classes.end(), group.first) - classes.begin();
      const std::int64_t first = item / groups.count() * kTilesPerItem;
      for (std::int64_t tile = first; tile < std::min(tiles.count(), first + kTilesPerItem); ++tile) {
        const Tile& own = tiles[tile];
        copy_columns(own, group.first, group.count, stride, columns_.data() + slot * stride + own.first_row);
      }
    });
  }

  // A part of a class is a range of thresholds that about the same number of negatives reach.
  void list(Array<Listed>& listed, std::int64_t stride, const Runner& runner) {
    const std::int64_t shared = workers_ == 1 ? 1 : (2 * workers_ + listed.count() - 1) / listed.count();
    const std::int64_t parts = std::max(shared, scores_.rows / kRowsPerPart);
    const auto cells = static_cast<double>(scores_.rows) * static_cast<double>(listed.count());
    const Phases phases(runner, {0.5 * cells, 8.0 * cells, 0.2 * cells});
    Array<OrderedClass<Lane>> ordered(listed.count());
    phases.phase(0).run(listed.count(), [&](std::int64_t i, int) {
      Listed& own = listed[i];
      const auto rows = static_cast<std::uint32_t>(scores_.rows);
      Lane* const column = columns_.data() + i * stride;
      Array<std::uint32_t> excluded;
      Array<std::uint32_t> displaced;
      move_displaced(excluded_rows(positives_, scores_.unknown, own.cls, excluded), rows, displaced, column);
      const std::int64_t first = table_.offset.first(own.cls);
      OrderedClass<Lane>& to = ordered[i];
      to = {column,  own.negatives, keys_ + first, table_.fp.data() + first, table_.offset.length(own.cls),
            nullptr, nullptr,       nullptr};
      const std::int64_t reaching = to.reaching(to.count);
      own.moved_scores.resize(reaching);
      own.moved.resize(reaching);
      own.by_score.resize(reaching);
      to.moved_scores = own.moved_scores.data();
      to.moved = own.moved.data();
      to.by_score = own.by_score.data();
    });
    const OrderPart<Lane> order_part = order_part_kernel<Lane>();
    phases.phase(1).run(listed.count() * parts, [&](std::int64_t item, int) {
      const OrderedClass<Lane>& own = ordered[item / parts];
      const auto start = [&](std::int64_t part) {
        return part == parts
                   ? own.count
                   : std::lower_bound(own.fp, own.fp + own.count, own.reaching(own.count) / parts * part) - own.fp;
      };
      const std::int64_t part = item % parts;
      const std::int64_t first = part == 0 ? 0 : start(part);
      const std::int64_t end = start(part + 1);
      if (first < end) order_part(own, first, end);
    });
    // A place that got no negative holds any number. That happens only if the scores are not those of the table.
    phases.phase(2).run(listed.count(), [&](std::int64_t i, int) {
      std::uint32_t highest = 0;
      for (std::int64_t k = 0; k < listed[i].by_score.count(); ++k) {
        highest = std::max(highest, listed[i].by_score.data()[k]);
      }
      if (listed[i].by_score.count() != 0 && highest >= ordered[i].negatives) throw ScoresChanged();
    });
    for (Listed& own : listed) {
      own.moved_scores.clear();
      own.moved.clear();
    }
  }

  void sample(const Array<Listed>& listed, const Runner& runner) {
    struct Item {
      const Listed* own;
      std::int64_t first;
      std::int64_t count;
    };
    Array<Item> items;
    for (const Listed& own : listed) {
      const std::int64_t step =
          trials_per_item(own.draws, own.negatives, trials_, (workers_ + listed.count() - 1) / listed.count());
      for (std::int64_t trial = 0; trial < trials_; trial += step) {
        items.push_back({&own, trial, std::min(step, trials_ - trial)});
      }
    }
    const AverageMarked average_marked = average_marked_kernel();
    runner.run(items.count(), [&](std::int64_t index, int worker) {
      const Item& item = items[index];
      const Listed& own = *item.own;
      const std::int64_t first = table_.offset.first(own.cls);
      const MarkedClass marked{own.by_score.data(),
                               table_.tp.data() + first,
                               table_.fp.data() + first,
                               table_.offset.length(own.cls),
                               own.negatives,
                               own.draws,
                               static_cast<std::uint32_t>(own.cls),
                               seed_};
      average_marked(marked, item.first, item.count, marks_[worker], out_ + item.first * scores_.cols + own.cls,
                     scores_.cols);
    });
  }

  static constexpr std::int64_t kRowsPerPart = std::int64_t{4} << 20;  // so that the call polls often enough

  const Matrix& scores_;
  const Positives& positives_;
  const RankTable& table_;
  const Lane* keys_;
  std::int64_t trials_;
  std::uint64_t seed_;
  double* out_;
  std::int64_t workers_;
  LargeArray<Lane> columns_;
  Array<MarkScratch> marks_;
};

}  // namespace

template <class T>
void mark_trials(const Matrix& scores, const Positives& positives, const RankTable& table,
                 const Array<std::int64_t>& classes, std::int64_t trials, std::uint64_t seed, double* out,
                 const Runner& runner) {
  Array<std::int64_t> drawn;
  for (const std::int64_t c : classes) {
    if (draws_per_trial(positives, class_rows(scores), c) != 0) {
      drawn.push_back(c);
      continue;
    }
    repeat_average_precision(table, c, trials, out);
  }
  if (!drawn.empty()) MarkedTrials<T>(scores, positives, table, trials, seed, out, runner).run(drawn, runner);
}

bool draws_fit_in_pass(const Matrix& scores, const Positives& positives, std::int64_t trials) {
  const auto element = static_cast<std::int64_t>(
      with_element_type(scores.dtype, [](auto tag) { return sizeof(typename decltype(tag)::type); }));
  std::int64_t draws = 0;
  for (std::int64_t c = 0; c < scores.cols; ++c) draws += draws_per_trial(positives, class_rows(scores), c);
  const std::int64_t room = std::max(kColumnScratchBytes, scores.rows * scores.cols * element / 8);
  return draws == 0 || trials <= std::min(room / DrawPlan::kBytesPerDraw, kMaxRows) / draws;
}

template <class T>
void sample_columns(const Matrix& scores, const Positives& positives, const RankTable& table,
                    const Array<std::int64_t>& classes, std::int64_t trials, std::uint64_t seed, double* out,
                    const Runner& runner) {
  Array<std::int64_t> looked_up;
  Array<std::int64_t> marked;
  double looked_up_work = 0.0;  // nanoseconds of one thread, roughly
  double marked_work = 0.0;
  for (const std::int64_t c : classes) {
    const std::int64_t draws = draws_per_trial(positives, class_rows(scores), c);
    if (draws == 0 || by_marks(draws, class_rows(scores)[c] - draws)) {
      marked.push_back(c);
      marked_work +=
          10.0 * static_cast<double>(scores.rows) + static_cast<double>(trials * (3 * draws + scores.rows / 4));
    } else {
      looked_up.push_back(c);
      looked_up_work += 30.0 * static_cast<double>(scores.rows) + 8.0 * static_cast<double>(trials * draws);
    }
  }
  const Phases phases(runner, {looked_up_work, marked_work});
  if (!looked_up.empty()) {
    const auto thresholds = thresholds_of<LaneOf<T>>(table, looked_up);
    look_up_trials<T>(scores, positives, thresholds, table, looked_up, trials, seed, phases.phase(0), out);
  }
  mark_trials<T>(scores, positives, table, marked, trials, seed, out, phases.phase(1));
}

#define VLTR_SAMPLE(T)                                                                                           \
  template void sample_columns<T>(const Matrix&, const Positives&, const RankTable&, const Array<std::int64_t>&, \
                                  std::int64_t, std::uint64_t, double*, const Runner&);                          \
  template void mark_trials<T>(const Matrix&, const Positives&, const RankTable&, const Array<std::int64_t>&,    \
                               std::int64_t, std::uint64_t, double*, const Runner&);
VLTR_FOR_EACH_ELEMENT(VLTR_SAMPLE)
#undef VLTR_SAMPLE

}  // namespace vltr::cpu
