// Curves over all thresholds.
#include "bindings/bindings.hpp"

#include "cpu/score_curves.hpp"

namespace vltr {
namespace {

using Request = std::tuple<int, bool, std::int64_t, std::int64_t>;  // (kept, from the lowest, first, step)

std::vector<py::tuple> score_curves(const Matrix& scores, const IntArray& offset, const RowArray& rows,
                                    const std::vector<Request>& requests, int threads, const py::object& progress) {
  Array<cpu::CurveRequest> wanted;
  for (const auto& [kept, from_lowest, first, step] : requests) {
    if (kept < 0 || kept > static_cast<int>(cpu::KeptThresholds::kCorners) || first < 0 || step < 1) {
      throw py::value_error("requests: expected thresholds 0 to 2, a first one from 0 and a step from 1");
    }
    wanted.push_back({static_cast<cpu::KeptThresholds>(kept), from_lowest, first, step});
  }
  const cpu::Positives positives = to_positives(offset, rows, scores.rows, scores.cols);
  Array<cpu::ScoreCurves> curves = Call(threads, progress)(
      [&](const cpu::Runner& runner) { return cpu::score_curves(scores, positives, wanted, runner); });
  std::vector<py::tuple> out;
  for (cpu::ScoreCurves& curve : curves) {
    py::object thresholds = std::visit([](auto&& values) -> py::object { return to_numpy(std::move(values)); },
                                       std::move(curve.thresholds));
    out.push_back(py::make_tuple(to_numpy(std::move(curve.offset)), thresholds, to_numpy(std::move(curve.tp)),
                                 to_numpy(std::move(curve.reached)), to_numpy(std::move(curve.kept))));
  }
  return out;
}

}  // namespace

void bind_curves(py::module_& module) {
  module.def("score_curves", &score_curves, "scores"_a, "offset"_a, "rows"_a, "requests"_a, "threads"_a, "progress"_a,
             "Returns offsets, thresholds, positives and rows that reach them, and the kept thresholds of each class, "
             "for each request.");
}

}  // namespace vltr
