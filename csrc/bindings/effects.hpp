// Shared by the bindings of row effects on each device.
#pragma once

#include <tuple>

#include "bindings/unknown.hpp"
#include "cpu/row_effects.hpp"

namespace vltr {

// (offset, thresholds, tp, fp, tied): the columns of a table, thresholds as keys of the core.
using TableArguments = std::tuple<IntArray, py::array, IntArray, IntArray, IntArray>;

// Conversions from Python, with the checks for memory safety.
Array<EffectMetric> to_metrics(const std::vector<int>& numbers);
Span<const std::int64_t> to_groups(const IntArray& groups, std::int64_t num_groups, std::int64_t num_classes);
cpu::TableColumns to_columns(const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied,
                             const ClassRows& rows, int threads);

inline py::array exponents_to_numpy(const Array<int>& exponents) {
  return to_numpy(Array<std::int64_t>(exponents.begin(), exponents.end()));
}

// A table whose memory numpy keeps.
struct CheckedTable {
  const TableArguments& arguments;
  RankTable thresholds;
  cpu::TableColumns columns;

  // rows: those of the table, of which scores may be a part.
  CheckedTable(const TableArguments& table, const Matrix& scores, const ClassRows& rows, int threads)
      : arguments(table),
        thresholds(to_thresholds(std::get<0>(table), std::get<1>(table), scores)),
        columns(
            to_columns(std::get<0>(table), std::get<2>(table), std::get<3>(table), std::get<4>(table), rows, threads)) {
    if (columns.offset[scores.cols] != std::get<1>(table).size()) {
      throw py::value_error("table: expected a threshold for each count");
    }
  }
  cpu::ScoredTable scored() const { return {columns, &thresholds}; }
};

}  // namespace vltr
