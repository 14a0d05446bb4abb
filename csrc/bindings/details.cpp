// Details of single classes.
#include "bindings/bindings.hpp"

#include "cpu/class_details.hpp"

namespace vltr {
namespace {

constexpr std::int64_t kMostOfClass = 1 << 16;  // bins or listed rows

py::object column_to_numpy(LaneColumn&& column, const std::vector<py::ssize_t>& shape) {
  return std::visit([&](auto&& values) -> py::object { return to_numpy(std::move(values), shape); }, std::move(column));
}

// (low, high, missed rows, missed scores, false rows, false scores)
py::tuple class_extremes(const Matrix& scores, const IntArray& offset, const RowArray& rows, std::int64_t limit,
                         int threads, const py::object& progress) {
  if (limit < 1 || limit > kMostOfClass) throw py::value_error("limit: expected a number from 1 to 65536");
  const cpu::Positives positives = to_positives(offset, rows, scores.rows, scores.cols);
  cpu::ClassExtremes found = Call(threads, progress)(
      [&](const cpu::Runner& runner) { return cpu::class_extremes(scores, positives, limit, runner); });
  const std::vector<py::ssize_t> each{scores.cols};
  const std::vector<py::ssize_t> lists{scores.cols, limit};
  return py::make_tuple(
      column_to_numpy(std::move(found.low), each), column_to_numpy(std::move(found.high), each),
      to_numpy(std::move(found.missed_rows), lists), column_to_numpy(std::move(found.missed_scores), lists),
      to_numpy(std::move(found.false_rows), lists), column_to_numpy(std::move(found.false_scores), lists));
}

LaneColumn to_lane_column(const py::array& values, const Matrix& scores) {
  return with_element_type(scores.dtype, [&](auto tag) -> LaneColumn {
    using Lane = LaneOf<typename decltype(tag)::type>;
    const auto lanes = values.cast<NumberArray<Lane>>();
    if (lanes.size() != scores.cols) throw py::value_error("low and high: expected one for each class of scores");
    return TableColumn<Lane>(lanes.data(), lanes.data() + lanes.size());
  });
}

// (positives, negatives)
py::tuple score_histograms(const Matrix& scores, const IntArray& offset, const RowArray& rows, const py::array& low,
                           const py::array& high, std::int64_t bins, int threads, const py::object& progress) {
  if (bins < 1 || bins > kMostOfClass) throw py::value_error("bins: expected a number from 1 to 65536");
  const cpu::Positives positives = to_positives(offset, rows, scores.rows, scores.cols);
  const LaneColumn first = to_lane_column(low, scores);
  const LaneColumn last = to_lane_column(high, scores);
  cpu::ScoreHistograms found = Call(threads, progress)(
      [&](const cpu::Runner& runner) { return cpu::score_histograms(scores, positives, first, last, bins, runner); });
  const std::vector<py::ssize_t> shape{scores.cols, bins};
  return py::make_tuple(to_numpy(std::move(found.positives), shape), to_numpy(std::move(found.negatives), shape));
}

}  // namespace

void bind_details(py::module_& module) {
  module.def("class_extremes", &class_extremes, "scores"_a, "offset"_a, "rows"_a, "limit"_a, "threads"_a, "progress"_a,
             "Returns the lowest and the highest finite score of each class, and the rows and scores of its "
             "lowest-scored positives and highest-scored negatives.");
  module.def("score_histograms", &score_histograms, "scores"_a, "offset"_a, "rows"_a, "low"_a, "high"_a, "bins"_a,
             "threads"_a, "progress"_a, "Returns the positives and the negatives in each bin of each class.");
}

}  // namespace vltr
