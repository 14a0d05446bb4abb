// Labels, the rank scan and the metrics on CPU threads.
#include <map>

#include "bindings/unknown.hpp"
#include "core/large_array.hpp"
#include "core/sap_core.hpp"
#include "cpu/class_path.hpp"
#include "cpu/common_thresholds.hpp"
#include "cpu/count_reached.hpp"
#include "cpu/label_cells.hpp"
#include "cpu/rank_scan.hpp"
#include "cpu/row_ranks.hpp"
#include "cpu/tied_before.hpp"
#include "cpu/trial_average.hpp"
#include "cpu/weighted_average_precision.hpp"

namespace vltr {
namespace {

// True for rows that rise and are below `num_rows`. Without branches, so that it takes no longer than a read.
bool are_rows(Span<const std::uint32_t> rows, std::int64_t num_rows) {
  bool rises = true;
  for (std::int64_t i = 1; i < rows.count(); ++i) rises &= rows[i - 1] < rows[i];
  return rows.count() == 0 || (rises && rows[rows.count() - 1] < num_rows);
}

}  // namespace

cpu::Positives to_positives(const IntArray& offset, const RowArray& rows, std::int64_t num_rows,
                            std::int64_t num_classes) {
  const cpu::Positives positives({offset.data(), offset.size()}, {rows.data(), rows.size()});
  bool valid = are_offsets(offset.data(), offset.size(), num_classes, rows.size());
  for (std::int64_t c = 0; valid && c < positives.classes(); ++c) valid = are_rows(positives.rows_of(c), num_rows);
  if (!valid)
    throw py::value_error(
        "positives: expected an offset for each class of scores and one more, rising from 0, and rows that rise "
        "within each class and are below the number of rows");
  return positives;
}

RankTable to_thresholds(const IntArray& offset, const py::array& scores_of_positives, const Matrix& scores) {
  RankTable thresholds;
  thresholds.offset.assign(offset.data(), offset.data() + offset.size());
  with_element_type(scores.dtype, [&](auto tag) {
    using Lane = LaneOf<typename decltype(tag)::type>;
    const auto values = scores_of_positives.cast<NumberArray<Lane>>();
    if (!are_offsets(offset.data(), offset.size(), scores.cols, values.size())) {
      throw py::value_error("thresholds: expected an offset for each class of scores and one more, rising from 0");
    }
    thresholds.thresholds = TableColumn<Lane>(values.data(), values.data() + values.size());
  });
  return thresholds;
}

Cells to_cells(const RowArray& rows, const RowArray& classes, const Matrix& scores) {
  const auto below = [](const RowArray& numbers, std::int64_t bound) {
    return std::all_of(numbers.data(), numbers.data() + numbers.size(), [=](std::uint32_t n) { return n < bound; });
  };
  if (rows.size() != classes.size() || !below(rows, scores.rows) || !below(classes, scores.cols)) {
    throw py::value_error("cells: expected a row and a class of scores for each");
  }
  return {rows.data(), classes.data(), rows.size()};
}

// (offset, thresholds, tp, fp, tied)
py::tuple to_tuple(RankTable&& table) {
  py::object thresholds =
      std::visit([](auto&& values) -> py::object { return to_numpy(std::move(values)); }, std::move(table.thresholds));
  return py::make_tuple(to_numpy(std::move(table.offset)), thresholds, to_numpy(std::move(table.tp)),
                        to_numpy(std::move(table.fp)), to_numpy(std::move(table.tied)));
}

namespace {

py::tuple rank_scan(const Matrix& scores, const IntArray& offset, const RowArray& rows, int trials, std::uint64_t seed,
                    bool ranks, const std::optional<std::pair<IntArray, py::array>>& given, int threads,
                    const py::object& progress) {
  const cpu::Positives positives = to_positives(offset, rows, scores.rows, scores.cols);
  RankTable shared;
  RankScanRequest request;
  request.trials = trials;
  request.seed = seed;
  request.ranks = ranks;
  if (given) {
    shared = to_thresholds(given->first, given->second, scores);
    request.given = &shared;
  }
  cpu::RankScanResult result = Call(
      threads, progress)([&](const cpu::Runner& runner) { return cpu::rank_scan(scores, positives, request, runner); });
  py::object trial_matrix = py::none();
  if (trials > 0) trial_matrix = to_numpy(std::move(result.trials), {trials, static_cast<py::ssize_t>(scores.cols)});
  py::object rank = py::none();
  if (ranks) rank = to_numpy(std::move(result.ranks));
  return py::make_tuple(to_tuple(std::move(result.table)), trial_matrix, rank);
}

py::array count_tied_before(const Matrix& scores, const IntArray& offset, const RowArray& rows,
                            const std::pair<IntArray, py::array>& thresholds, const IntArray& start, int threads,
                            const py::object& progress, bool ranges) {
  const cpu::Positives positives = to_positives(offset, rows, scores.rows, scores.cols);
  const RankTable given = to_thresholds(thresholds.first, thresholds.second, scores);
  const std::int64_t count = start.size() == 0 ? 0 : start.data()[start.size() - 1];
  if (!are_offsets(start.data(), start.size(), given.offset.back(), count) || count > rows.size()) {
    throw py::value_error("start: expected an offset for each threshold and one more, rising from 0");
  }
  return to_numpy(Call(threads, progress)([&](const cpu::Runner& runner) {
    return cpu::count_tied_before(scores, positives, given, {start.data(), start.size()}, runner, ranges);
  }));
}

LaneColumn to_lanes(const py::array& values, const Matrix& scores) {
  return with_element_type(scores.dtype, [&](auto tag) -> LaneColumn {
    using Lane = LaneOf<typename decltype(tag)::type>;
    const auto lanes = values.cast<NumberArray<Lane>>();
    return TableColumn<Lane>(lanes.data(), lanes.data() + lanes.size());
  });
}

LaneColumn to_rising_lanes(const py::array& thresholds, const Matrix& scores) {
  LaneColumn lanes = to_lanes(thresholds, scores);
  std::visit(
      [](const auto& values) {
        const bool rises = std::is_sorted(values.begin(), values.end());
        if (!rises || std::any_of(values.begin(), values.end(), [](auto lane) { return lane != lane; })) {
          throw py::value_error("thresholds: expected numbers that rise");
        }
      },
      lanes);
  return lanes;
}

py::array count_at_common(const Matrix& scores, const py::array& thresholds, bool pooled, int threads,
                          const py::object& progress) {
  const LaneColumn lanes = to_rising_lanes(thresholds, scores);
  const std::int64_t count = std::visit([](const auto& values) { return values.count(); }, lanes);
  Array<std::int64_t> counts = Call(threads, progress)(
      [&](const cpu::Runner& runner) { return cpu::count_at_common(scores, lanes, pooled, runner); });
  return to_numpy(std::move(counts), {pooled ? 1 : static_cast<py::ssize_t>(scores.cols), count + 1});
}

py::tuple count_at_both(const Matrix& scores, const py::array& thresholds, const IntArray& of_classes, int threads,
                        const py::object& progress) {
  const LaneColumn lanes = to_rising_lanes(thresholds, scores);
  const std::int64_t count = std::visit([](const auto& values) { return values.count(); }, lanes);
  if (of_classes.size() != count + 1 || !are_offsets(of_classes.data(), count + 1, count, of_classes.data()[count])) {
    throw py::value_error("of_classes: expected, for each number of thresholds, how many of them are of classes");
  }
  const auto own = static_cast<py::ssize_t>(of_classes.data()[count]);
  cpu::CommonCounts counts = Call(threads, progress)([&](const cpu::Runner& runner) {
    return cpu::count_at_both(scores, lanes, {of_classes.data(), count + 1}, runner);
  });
  return py::make_tuple(to_numpy(std::move(counts.of_classes), {static_cast<py::ssize_t>(scores.cols), own + 1}),
                        to_numpy(std::move(counts.pooled)));
}

// Positives by row: classes that rise within each row.
cpu::Positives to_row_positives(const IntArray& offset, const RowArray& classes, const Matrix& scores) {
  return to_positives(offset, classes, scores.cols, scores.rows);
}

py::array count_in_rows(const Matrix& scores, const IntArray& offset, const RowArray& classes, const py::array& bounds,
                        int threads, const py::object& progress) {
  const cpu::Positives positives = to_row_positives(offset, classes, scores);
  const LaneColumn lanes = to_lanes(bounds, scores);
  if (std::visit([](const auto& values) { return values.count(); }, lanes) != positives.rows.count()) {
    throw py::value_error("bounds: expected one for each positive");
  }
  return to_numpy(Call(threads, progress)(
      [&](const cpu::Runner& runner) { return cpu::count_in_rows(scores, positives, lanes, runner); }));
}

py::tuple top_of_rows(const Matrix& scores, const IntArray& offset, const RowArray& classes, std::int64_t k,
                      int preference, int threads, const py::object& progress) {
  if (k < 1 || k > scores.cols || preference < 0 || preference > static_cast<int>(cpu::Preference::kPositive)) {
    throw py::value_error("k: expected 1 to the number of classes, and a preference");
  }
  const cpu::Positives positives = to_row_positives(offset, classes, scores);
  cpu::TopCells top = Call(threads, progress)([&](const cpu::Runner& runner) {
    return cpu::top_of_rows(scores, positives, k, static_cast<cpu::Preference>(preference), runner);
  });
  const std::vector<py::ssize_t> shape{scores.rows, k};
  py::object score =
      std::visit([&](auto&& values) -> py::object { return to_numpy(std::move(values), shape); }, std::move(top.score));
  return py::make_tuple(to_numpy(std::move(top.cls), shape), score, to_numpy(std::move(top.hit), shape), top.open);
}

// A metric of each class without the table of the classes, which takes time and memory where positives are many.
DoubleArray scan_metric(const Matrix& scores, const IntArray& offset, const RowArray& rows, const std::string& name,
                        int threads) {
  const std::map<std::string, ClassMetric> metrics{
      {"average_precision", ClassMetric::kAveragePrecision},
      {"roc_auc", ClassMetric::kRocAuc},
      {"expected_sampled_average_precision", ClassMetric::kExpectedSampledAveragePrecision}};
  const auto metric = metrics.find(name);
  if (metric == metrics.end()) throw py::value_error("metric: expected one that a scan computes, got " + name);
  const cpu::Positives positives = to_positives(offset, rows, scores.rows, scores.cols);
  RankScanRequest request;
  request.metric = metric->second;
  cpu::RankScanResult result = Call(threads, py::none())(
      [&](const cpu::Runner& runner) { return cpu::rank_scan(scores, positives, request, runner); });
  return to_numpy(std::move(result.metric));
}

using UnknownCounts = std::optional<IntArray>;  // of each class; None for none

// Calls metric(tp, fp, tied, count, negatives) for each class of a checked rank table, and returns the results.
template <class Metric>
DoubleArray per_checked_class(const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied,
                              const ClassRows& rows, int threads, const Metric& metric) {
  const auto classes = static_cast<std::int64_t>(offset.size()) - 1;
  Array<double> out(classes);
  const std::int64_t* const begin = offset.data();
  const double cost = 10.0 * static_cast<double>(tp.size()) + 20.0 * static_cast<double>(classes);
  Call(threads, py::none())([&](const cpu::Runner& caller) {
    const cpu::Runner runner = caller.for_cost(cost);
    const std::int64_t step = cpu::items_per_step(classes, 8, runner.threads);
    runner.run((classes + step - 1) / step, [&](std::int64_t item, int) {
      for (std::int64_t c = item * step; c < std::min(classes, (item + 1) * step); ++c) {
        const std::int64_t first = begin[c];
        const std::int64_t count = begin[c + 1] - first;
        const std::int64_t positives = count == 0 ? 0 : tp.data()[first + count - 1];
        out[c] = metric(tp.data() + first, fp.data() + first, tied.data() + first, count, rows[c] - positives);
      }
    });
    return 0;
  });
  return to_numpy(std::move(out));
}

template <class Metric>
DoubleArray per_class(const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied,
                      std::int64_t num_rows, int threads, const UnknownCounts& unknown, const Metric& metric) {
  check_table(offset, tp, fp, tied, num_rows, threads);
  const ClassRows rows = to_class_rows(num_rows, unknown, offset.size() - 1);
  return per_checked_class(offset, tp, fp, tied, rows, threads, metric);
}

// Items are thresholds, not classes, so that the threads share the work of one large class.
DoubleArray expected_sampled_average_precisions(const IntArray& offset, const IntArray& tp, const IntArray& fp,
                                                const IntArray& tied, std::int64_t num_rows, int threads,
                                                const py::object& progress, const UnknownCounts& unknown) {
  check_table(offset, tp, fp, tied, num_rows, threads);
  const ClassRows rows = to_class_rows(num_rows, unknown, offset.size() - 1);
  const std::int64_t* const begin = offset.data();
  const std::int64_t* const end = begin + offset.size();
  const std::int64_t* const hits = tp.data();
  const std::int64_t* const marked = fp.data();
  const std::int64_t count = tp.size();
  LargeArray<double> precisions;
  precisions.resize(count);
  double* const precision = precisions.data();
  Call(threads, progress)([&](const cpu::Runner& runner) {
    constexpr std::int64_t kThresholdsPerItem = 1024;
    runner.run((count + kThresholdsPerItem - 1) / kThresholdsPerItem, [&](std::int64_t item, int) {
      const std::int64_t last = std::min(count, (item + 1) * kThresholdsPerItem);
      std::int64_t k = item * kThresholdsPerItem;
      const std::int64_t* after = std::upper_bound(begin, end, k);  // end of the class of threshold k
      while (k < last) {
        while (*after <= k) ++after;
        const std::int64_t positives = hits[*after - 1];
        const std::int64_t negatives = rows[after - begin - 1] - positives;
        ExpectedPrecision expected(negatives, sap_draws(positives, negatives));
        for (const std::int64_t stop = std::min(last, *after); k < stop; ++k) {
          precision[k] = expected(hits[k], marked[k]);
        }
      }
    });
    return 0;
  });
  return per_checked_class(offset, tp, fp, tied, rows, threads, [&](auto t, auto, auto, auto keys, auto) {
    const double* class_precision = precision + (t - hits);
    return mean_over_positives(t, keys, [class_precision](std::int64_t k) { return class_precision[k]; });
  });
}

RowArray draw_rows(const IntArray& offset, const RowArray& rows, std::int64_t num_rows, std::int64_t first_trial,
                   std::int64_t trials, std::uint64_t seed, int threads, const LentUnknownCells* unknown) {
  if (num_rows > kMaxRows) throw py::value_error("num_rows: expected fewer than 2^32");
  constexpr std::int64_t kMaxTrials = std::int64_t{1} << 31;
  if (first_trial < 0 || trials < 0 || first_trial > kMaxTrials - trials) {
    throw py::value_error("trials: expected numbers from 0 to 2^31 - 1");
  }
  const cpu::Positives positives = to_positives(offset, rows, num_rows, offset.size() - 1);
  if (unknown != nullptr) unknown->check_fits(num_rows, positives.classes());
  const UnknownCells* const cells = unknown == nullptr ? nullptr : &unknown->cells();
  if (rows.size() > std::numeric_limits<std::int64_t>::max() / std::max<std::int64_t>(1, trials))
    throw std::bad_alloc();
  const cpu::Trials chosen{first_trial, trials};
  const Offsets draw_offset = cpu::draw_offsets(positives, cpu::class_rows(num_rows, cells), chosen);
  RowArray drawn(draw_offset.back());
  std::uint32_t* const out = drawn.mutable_data();
  Call(threads, py::none())([&](const cpu::Runner& runner) {
    cpu::draw_rows(positives, num_rows, cells, chosen, seed, draw_offset, out, runner);
    return 0;
  });
  return drawn;
}

using CountArray = NumberArray<std::int32_t>;

DoubleArray average_trials(const IntArray& offset, const IntArray& tp, const IntArray& fp, const CountArray& drawn,
                           std::int64_t num_rows, int threads, const UnknownCounts& unknown) {
  check_table(offset, tp, fp, fp, num_rows, threads);
  const ClassRows rows = to_class_rows(num_rows, unknown, offset.size() - 1);
  if (drawn.ndim() != 2 || drawn.shape(1) != tp.size()) {
    throw py::value_error("drawn: expected a count for each trial and threshold");
  }
  RankTable table;
  table.offset.assign(offset.data(), offset.data() + offset.size());
  table.tp.assign(tp.data(), tp.data() + tp.size());
  table.fp.assign(fp.data(), fp.data() + fp.size());
  const std::int64_t trials = drawn.shape(0);
  const std::int32_t* const counts = drawn.data();
  Array<double> out(trials * table.offset.lists());
  Call(threads, py::none())([&](const cpu::Runner& runner) {
    cpu::average_trials(table, rows, cpu::search_all(table.offset.lists()).searched, trials, out.data(), runner,
                        [&](std::int64_t c, std::int64_t, cpu::TrialAverage& average) {
                          const std::int32_t* trial = counts + table.offset[c];
                          for (std::int64_t t = 0; t < trials; ++t, trial += tp.size()) average.add_trial(trial);
                        });
    return 0;
  });
  return to_numpy(std::move(out), {trials, offset.size() - 1});
}

// (offset, rows, None) of lists, or (None, None, bits) of bits.
py::tuple to_tuple(cpu::OwnedUnknown&& unknown, std::int64_t classes) {
  if (unknown.bits.count() == 0) {
    py::tuple lists = positives_to_numpy(std::move(unknown.offset), std::move(unknown.rows));
    return py::make_tuple(lists[0], lists[1], py::none());
  }
  py::array bits = to_numpy(std::move(unknown.bits)).reshape({static_cast<py::ssize_t>(classes), py::ssize_t{-1}});
  py::detail::array_proxy(bits.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return py::make_tuple(py::none(), py::none(), bits);
}

}  // namespace

void bind_evaluation(py::module_& module) {
  module.def("find_positives", [](const Matrix& labels, int threads, const py::object& progress) {
    cpu::OwnedPositives found =
        Call(threads, progress)([&](const cpu::Runner& runner) { return cpu::find_positives(labels, runner); });
    return positives_to_numpy(std::move(found.offset_memory), std::move(found.rows_memory));
  });
  module.def(
      "find_label_cells",
      [](const Matrix& labels, bool nan, int threads, const py::object& progress) {
        const cpu::UnknownValue value = nan ? cpu::UnknownValue::kNaN : cpu::UnknownValue::kMinusOne;
        cpu::LabelCells found = Call(
            threads, progress)([&](const cpu::Runner& runner) { return cpu::find_label_cells(labels, value, runner); });
        cpu::OwnedPositives& positives = found.positives;
        return py::make_tuple(positives_to_numpy(std::move(positives.offset_memory), std::move(positives.rows_memory)),
                              to_tuple(std::move(found.unknown), labels.cols));
      },
      "labels"_a, "nan"_a, "threads"_a, "progress"_a,
      "Returns the positives, and the unknown cells as lists or bits. Cells of NaN, or else of -1, are unknown.");
  module.def(
      "find_unknown",
      [](const Matrix& mask, int threads, const py::object& progress) {
        return to_tuple(
            Call(threads, progress)([&](const cpu::Runner& runner) { return cpu::find_unknown(mask, runner); }),
            mask.cols);
      },
      "mask"_a, "threads"_a, "progress"_a,
      "Returns the cells where a mask of known cells is 0, as lists (offset, rows, None) or bits (None, None, bits).");
  module.def("rank_scan", &rank_scan, "scores"_a, "offset"_a, "rows"_a, "trials"_a, "seed"_a, "ranks"_a, "given"_a,
             "threads"_a, "progress"_a);
  module.def("positive_scores", [](const Matrix& scores, const IntArray& offset, const RowArray& rows, int threads) {
    const cpu::Positives positives = to_positives(offset, rows, scores.rows, scores.cols);
    return to_tuple(Call(threads, py::none())(
        [&](const cpu::Runner& runner) { return cpu::positive_scores(scores, positives, runner); }));
  });
  module.def("weighted_average_precision", [](const Matrix& scores, const IntArray& offset, const RowArray& rows,
                                              const DoubleArray& weights, int threads) {
    if (weights.size() != scores.rows) throw py::value_error("weights: expected one for each row");
    const cpu::Positives positives = to_positives(offset, rows, scores.rows, scores.cols);
    return to_numpy(Call(threads, py::none())([&](const cpu::Runner& runner) {
      return cpu::weighted_average_precision(scores, positives, weights.data(), runner);
    }));
  });
  module.def("scan_metric", &scan_metric, "scores"_a, "offset"_a, "rows"_a, "metric"_a, "threads"_a,
             "Returns a metric of each class: the method of a rank table with this name, without the table.");
  module.def("draw_rows", &draw_rows, "offset"_a, "rows"_a, "num_rows"_a, "first_trial"_a, "trials"_a, "seed"_a,
             "threads"_a, "unknown"_a = py::none(),
             "Returns the rows of the negatives that trials draw: class after class, then by trial, in draw order. "
             "A class with no more negatives than positives draws none, because its trials have all negatives.");
  module.def(
      "draw_negatives",
      [](const RowArray& positives, std::int64_t num_rows, std::uint32_t cls, std::uint32_t trial, std::uint64_t seed,
         const std::optional<RowArray>& excluded) {
        const RowArray& left_out = excluded ? *excluded : positives;
        const Span<const std::uint32_t> no_negatives{left_out.data(), left_out.size()};
        const std::int64_t draws = positives.size();
        if (num_rows > kMaxRows || !are_rows(no_negatives, num_rows) || draws >= num_rows - no_negatives.size())
          throw py::value_error("positives: expected rows that rise, and fewer than negatives");
        Array<std::uint32_t> rows(draws);
        Call(1, py::none())([&](const cpu::Runner&) {
          cpu::DrawLister(num_rows, seed)
              .list(no_negatives, static_cast<std::uint32_t>(draws), cls, {trial, 1}, rows.data());
          return 0;
        });
        return to_numpy(std::move(rows));
      },
      "positives"_a, "num_rows"_a, "cls"_a, "trial"_a, "seed"_a, "excluded"_a = py::none(),
      "Returns the rows of the negatives that a trial draws, in draw order. Needs fewer positives than negatives. "
      "excluded: the rows that are no negatives, which are the positives and the unknown rows; None for the "
      "positives.");
  module.def(
      "count_reached",
      [](const Matrix& scores, const RowArray& rows, const RowArray& classes,
         const std::pair<IntArray, py::array>& thresholds, int threads) {
        const Cells cells = to_cells(rows, classes, scores);
        const RankTable given = to_thresholds(thresholds.first, thresholds.second, scores);
        return to_numpy(Call(threads, py::none())(
            [&](const cpu::Runner& runner) { return cpu::count_reached(scores, cells, given, runner); }));
      },
      "scores"_a, "rows"_a, "classes"_a, "thresholds"_a, "threads"_a,
      "Returns, for each cell, the number of the given thresholds of its class (descending) that its score reaches.");

  module.def(
      "count_tied_before", &count_tied_before, "scores"_a, "offset"_a, "rows"_a, "thresholds"_a, "start"_a, "threads"_a,
      "progress"_a, "ranges"_a = false,
      "Returns, for each positive at one of the thresholds (descending), the negatives of its class with the same "
      "score and a lower row. Those of threshold k begin at start[k], in row order. With ranges, scores up to the "
      "next higher threshold count as the same.");

  module.def("count_at_common", &count_at_common, "scores"_a, "thresholds"_a, "pooled"_a, "threads"_a, "progress"_a,
             "Returns the known cells of each class, or of all together, by the number of the rising thresholds that "
             "they reach.");
  module.def("count_at_both", &count_at_both, "scores"_a, "thresholds"_a, "of_classes"_a, "threads"_a, "progress"_a,
             "Returns the known cells of each class by the number of the rising thresholds of classes that they reach, "
             "and those of all classes by the number of all thresholds. of_classes: for each number of thresholds, how "
             "many of them are of classes.");
  module.def("count_in_rows", &count_in_rows, "scores"_a, "offset"_a, "classes"_a, "bounds"_a, "threads"_a,
             "progress"_a,
             "Returns, for each positive, the known negatives of its row that reach its bound. Positives are listed by "
             "row.");
  module.def(
      "top_of_rows", &top_of_rows, "scores"_a, "offset"_a, "classes"_a, "k"_a, "preference"_a, "threads"_a,
      "progress"_a,
      "Returns the classes, scores and labels of the k best known cells of each row, by class, and the number of rows "
      "in which the preference decided. Class -1 fills up. "
      "The preference among equal scores: 0 low classes, 1 high classes, 2 negatives, 3 positives.");

  module.def("average_precision", [](const IntArray& offset, const IntArray& tp, const IntArray& fp,
                                     const IntArray& tied, std::int64_t num_rows, int threads) {
    return per_class(offset, tp, fp, tied, num_rows, threads, {},
                     [](auto t, auto f, auto, auto count, auto) { return average_precision(t, f, count); });
  });
  module.def(
      "calibrated_average_precision",
      [](const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied, std::int64_t num_rows,
         int threads, double prevalence, const UnknownCounts& unknown) {
        return per_class(offset, tp, fp, tied, num_rows, threads, unknown,
                         [prevalence](auto t, auto f, auto, auto count, auto negatives) {
                           return calibrated_average_precision(t, f, count, negatives, prevalence);
                         });
      },
      "offset"_a, "tp"_a, "fp"_a, "tied"_a, "num_rows"_a, "threads"_a, "prevalence"_a, "unknown"_a = py::none());
  module.def(
      "roc_auc",
      [](const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied, std::int64_t num_rows,
         int threads, const UnknownCounts& unknown) {
        return per_class(
            offset, tp, fp, tied, num_rows, threads, unknown,
            [](auto t, auto f, auto e, auto count, auto negatives) { return roc_auc(t, f, e, count, negatives); });
      },
      "offset"_a, "tp"_a, "fp"_a, "tied"_a, "num_rows"_a, "threads"_a, "unknown"_a = py::none());
  module.def("expected_sampled_average_precision", &expected_sampled_average_precisions, "offset"_a, "tp"_a, "fp"_a,
             "tied"_a, "num_rows"_a, "threads"_a, "progress"_a = py::none(), "unknown"_a = py::none());
  module.def(
      "average_trials", &average_trials, "offset"_a, "tp"_a, "fp"_a, "drawn"_a, "num_rows"_a, "threads"_a,
      "unknown"_a = py::none(),
      "Returns the AP of each trial and class. drawn (T, K): the number of drawn negatives of a trial at or above each "
      "threshold and below the one before.");
  module.def(
      "sampled_average_precision_chance",
      [](const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied, std::int64_t num_rows,
         int threads, const UnknownCounts& unknown) {
        return per_class(offset, tp, fp, tied, num_rows, threads, unknown,
                         [](auto t, auto, auto, auto count, auto negatives) {
                           return sampled_average_precision_chance(count == 0 ? 0 : t[count - 1], negatives);
                         });
      },
      "offset"_a, "tp"_a, "fp"_a, "tied"_a, "num_rows"_a, "threads"_a, "unknown"_a = py::none());
}

}  // namespace vltr
