// Everything that a report takes from a rank table and from ranks, beside single metrics.
#include "bindings/unknown.hpp"
#include "core/exact_sum_core.hpp"
#include "cpu/calibration.hpp"
#include "cpu/class_statistics.hpp"
#include "cpu/count_hits.hpp"
#include "cpu/weighted_average_precision.hpp"

namespace vltr {
namespace {

py::tuple class_statistics(const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied,
                           std::int64_t num_rows, int threads, const std::optional<IntArray>& unknown) {
  check_table(offset, tp, fp, tied, num_rows, threads);
  const ClassRows rows = to_class_rows(num_rows, unknown, offset.size() - 1);
  const cpu::TableColumns table{{offset.data(), offset.size()}, tp.data(), fp.data(), tied.data(), rows};
  cpu::ClassStatistics found =
      Call(threads, py::none())([&](const cpu::Runner& runner) { return cpu::class_statistics(table, runner); });
  return py::make_tuple(to_numpy(std::move(found.average_precision)), to_numpy(std::move(found.roc_auc)),
                        to_numpy(std::move(found.chance)), to_numpy(std::move(found.tied_positives)),
                        to_numpy(std::move(found.tie_lower)), to_numpy(std::move(found.tie_upper)));
}

py::tuple count_hits(const NumberArray<std::int32_t>& ranks, const IntArray& offset, const RowArray& rows,
                     const std::vector<std::int32_t>& topk, int threads) {
  const py::ssize_t num_rows = ranks.size();
  const bool below = std::all_of(rows.data(), rows.data() + rows.size(),
                                 [=](std::uint32_t row) { return static_cast<py::ssize_t>(row) < num_rows; });
  if (offset.size() == 0 || !are_offsets(offset.data(), offset.size(), offset.size() - 1, rows.size()) || !below) {
    throw py::value_error("positives: expected offsets that rise from 0, and rows below the number of ranks");
  }
  cpu::HitCounts hits = Call(threads, py::none())([&](const cpu::Runner& runner) {
    return cpu::count_hits({ranks.data(), num_rows}, {offset.data(), offset.size()}, rows.data(),
                           {topk.data(), static_cast<std::int64_t>(topk.size())}, runner);
  });
  return py::make_tuple(hits.labelled, to_numpy(std::move(hits.rows)),
                        to_numpy(std::move(hits.classes), {static_cast<py::ssize_t>(topk.size()), offset.size() - 1}));
}

DoubleArray exact_sums(const DoubleArray& values, const IntArray& offset, int threads) {
  if (offset.size() == 0 || !are_offsets(offset.data(), offset.size(), offset.size() - 1, values.size())) {
    throw py::value_error("offset: expected offsets that rise from 0 to the number of values");
  }
  const std::int64_t* const begin = offset.data();
  Array<double> sums(offset.size() - 1);
  Call(threads, py::none())([&](const cpu::Runner& runner) {
    const std::int64_t step = cpu::items_per_step(sums.count(), 64, runner.threads);
    runner.run((sums.count() + step - 1) / step, [&](std::int64_t item, int) {
      for (std::int64_t list = item * step; list < std::min(sums.count(), (item + 1) * step); ++list) {
        ExactSum sum;
        for (std::int64_t i = begin[list]; i < begin[list + 1]; ++i) sum.add(values.data()[i]);
        sums[list] = sum.rounded();
      }
    });
    return 0;
  });
  return to_numpy(std::move(sums));
}

DoubleArray weighted_average_precisions(const Matrix& scores, const IntArray& offset, const RowArray& rows,
                                        const DoubleArray& weights, int threads) {
  if (weights.ndim() != 2 || weights.shape(1) != scores.rows) {
    throw py::value_error("weights: expected one for each weighting and row");
  }
  const cpu::Positives positives = to_positives(offset, rows, scores.rows, scores.cols);
  Array<double> out = Call(threads, py::none())([&](const cpu::Runner& runner) {
    return cpu::weighted_average_precisions(scores, positives, weights.data(), weights.shape(0), runner);
  });
  return to_numpy(std::move(out), {weights.shape(0), static_cast<py::ssize_t>(scores.cols)});
}

py::array calibration_sums(const Matrix& scores, const IntArray& offset, const RowArray& rows, std::int64_t bins,
                           int threads, const py::object& progress) {
  if (bins < 1 || bins > cpu::kMaxBins) throw py::value_error("bins: expected 1 to 1000");
  const cpu::Positives positives = to_positives(offset, rows, scores.rows, scores.cols);
  Array<std::int64_t> sums = Call(threads, progress)(
      [&](const cpu::Runner& runner) { return cpu::calibration_sums(scores, positives, bins, runner); });
  return to_numpy(std::move(sums),
                  {static_cast<py::ssize_t>(scores.cols), static_cast<py::ssize_t>(cpu::calibration_columns(bins))});
}

}  // namespace

// Metrics convert counts to doubles and add two of them. With more rows neither would be exact.
constexpr std::int64_t kMaxTableRows = std::int64_t{1} << 53;

void check_table(const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied,
                 std::int64_t num_rows, int threads) {
  if (offset.size() == 0 || !are_offsets(offset.data(), offset.size(), offset.size() - 1, tp.size())) {
    throw py::value_error("table: expected offsets that rise from 0 to the number of thresholds, and counts for each");
  }
  const bool valid = Call(threads, py::none())([&](const cpu::Runner& runner) {
    const auto are_counts = [&](const IntArray& counts) {
      return counts.size() == tp.size() && cpu::are_counts({counts.data(), counts.size()}, num_rows, runner);
    };
    return num_rows >= 0 && num_rows <= kMaxTableRows && are_counts(tp) && are_counts(fp) && are_counts(tied);
  });
  if (!valid) {
    throw py::value_error("table: expected at most 2^53 rows, and counts for each threshold from 0 to the rows");
  }
}

void bind_tables(py::module_& module) {
  module.def("class_statistics", &class_statistics, "offset"_a, "tp"_a, "fp"_a, "tied"_a, "num_rows"_a, "threads"_a,
             "unknown"_a = py::none(),
             "Returns AP, ROC-AUC, the chance level of sampled AP, the tied positives, and the lowest and highest AP "
             "that an order of ties gives, of each class.");
  module.def("count_hits", &count_hits,
             "Returns the rows with a label, the hits at each k, and the hits among the positives of each class.");
  module.def("weighted_average_precisions", &weighted_average_precisions,
             "Returns the AP of each weighting of the rows and each class, from weights (W, N).");
  module.def(
      "calibration_sums", &calibration_sums, "scores"_a, "offset"_a, "rows"_a, "bins"_a, "threads"_a, "progress"_a,
      "Returns the sums of each class: cells, high and low parts of their scores, and positives of each bin, then "
      "squares and scores of positives.");
  module.def("exact_sums", &exact_sums, "Returns the sum of each list of values, rounded once.");
}

}  // namespace vltr
