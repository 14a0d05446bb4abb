// Effects of rows on metrics, and variances from them.
#include "bindings/effects.hpp"

#include "cpu/effect_variances.hpp"
#include "cpu/known_rows.hpp"
#include "cpu/paired_variances.hpp"

namespace vltr {

Array<EffectMetric> to_metrics(const std::vector<int>& numbers) {
  Array<EffectMetric> metrics;
  for (const int number : numbers) {
    if (number < 0 || number >= kEffectMetrics) throw py::value_error("metrics: expected numbers from 0 to 3");
    metrics.push_back(static_cast<EffectMetric>(number));
  }
  if (metrics.empty() || metrics.count() > kEffectMetrics) throw py::value_error("metrics: expected 1 to 4 metrics");
  return metrics;
}

Span<const std::int64_t> to_groups(const IntArray& groups, std::int64_t num_groups, std::int64_t num_classes) {
  const bool below = std::all_of(groups.data(), groups.data() + groups.size(),
                                 [=](std::int64_t group) { return group >= 0 && group < num_groups; });
  // More groups than this would overflow the sizes of arrays.
  constexpr std::int64_t kMostGroups = std::int64_t{1} << 20;
  if (num_groups > std::max(num_classes, kMostGroups)) throw py::value_error("groups: expected at most 2^20 groups");
  if (groups.size() != num_classes || !below) throw py::value_error("groups: expected one for each class, below G");
  return {groups.data(), groups.size()};
}

cpu::TableColumns to_columns(const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied,
                             const ClassRows& rows, int threads) {
  check_table(offset, tp, fp, tied, rows.all, threads);
  return {{offset.data(), offset.size()}, tp.data(), fp.data(), tied.data(), rows};
}

namespace {

py::tuple row_effects(const Matrix& scores, const IntArray& offset, const RowArray& rows, const TableArguments& table,
                      std::int64_t num_rows, const IntArray& groups, std::int64_t num_groups,
                      const std::vector<int>& metrics, double prevalence, int threads, const py::object& progress,
                      const std::optional<IntArray>& unknown) {
  const cpu::Positives positives = to_positives(offset, rows, scores.rows, scores.cols);
  const CheckedTable checked(table, scores, to_class_rows(num_rows, unknown, scores.cols), threads);
  const Span<const std::int64_t> group_of = to_groups(groups, num_groups, scores.cols);
  const Array<EffectMetric> chosen = to_metrics(metrics);
  cpu::RowEffects effects = Call(threads, progress)([&](const cpu::Runner& runner) {
    return cpu::row_effects(scores, positives, checked.scored(), group_of, num_groups, {chosen.data(), chosen.count()},
                            prevalence, runner);
  });
  return py::make_tuple(to_numpy(std::move(effects.sums)), exponents_to_numpy(effects.exponents));
}

DoubleArray class_variances(const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied,
                            std::int64_t num_rows, int metric, double prevalence, int threads,
                            const std::optional<IntArray>& unknown) {
  const ClassRows rows = to_class_rows(num_rows, unknown, offset.size() - 1);
  const cpu::TableColumns columns = to_columns(offset, tp, fp, tied, rows, threads);
  const EffectMetric chosen = to_metrics({metric})[0];
  return to_numpy(Call(threads, py::none())(
      [&](const cpu::Runner& runner) { return cpu::class_variances(columns, chosen, prevalence, runner); }));
}

// Clusters of rows that have been checked; the memory is numpy's.
cpu::Clusters to_clusters(const RowArray& of_row, std::int64_t count, const Matrix& scores) {
  const bool below =
      std::all_of(of_row.data(), of_row.data() + of_row.size(), [=](std::uint32_t cluster) { return cluster < count; });
  if (of_row.size() != scores.rows || !below || count > scores.rows) {
    throw py::value_error("clusters: expected one for each row, from 0 to fewer than the rows");
  }
  return {of_row.data(), count};
}

DoubleArray clustered_variances(const Matrix& scores, const TableArguments& table, const IntArray& offset,
                                const RowArray& rows, const RowArray& clusters, std::int64_t num_clusters, int metric,
                                double prevalence, int threads, const py::object& progress) {
  const cpu::Positives positives = to_positives(offset, rows, scores.rows, scores.cols);
  const CheckedTable checked(table, scores, cpu::class_rows(scores), threads);
  const cpu::Clusters of_rows = to_clusters(clusters, num_clusters, scores);
  const EffectMetric chosen = to_metrics({metric})[0];
  return to_numpy(Call(threads, progress)([&](const cpu::Runner& runner) {
    return cpu::clustered_variances({&scores, checked.scored()}, nullptr, positives, of_rows, chosen, prevalence,
                                    runner);
  }));
}

DoubleArray paired_variances(const Matrix& scores_a, const TableArguments& table_a, const Matrix& scores_b,
                             const TableArguments& table_b, const IntArray& offset, const RowArray& rows,
                             const std::optional<RowArray>& clusters, std::int64_t num_clusters, int metric,
                             double prevalence, int threads, const py::object& progress) {
  if (scores_b.rows != scores_a.rows || scores_b.cols != scores_a.cols) {
    throw py::value_error("scores_b: expected the shape of scores_a");
  }
  if (scores_b.unknown != scores_a.unknown) throw py::value_error("scores_b: expected the unknown cells of scores_a");
  const cpu::Positives positives = to_positives(offset, rows, scores_a.rows, scores_a.cols);
  const CheckedTable checked_a(table_a, scores_a, cpu::class_rows(scores_a), threads);
  const CheckedTable checked_b(table_b, scores_b, cpu::class_rows(scores_b), threads);
  cpu::Clusters of_rows;
  if (clusters) of_rows = to_clusters(*clusters, num_clusters, scores_a);
  const EffectMetric chosen = to_metrics({metric})[0];
  return to_numpy(Call(threads, progress)([&](const cpu::Runner& runner) {
    const cpu::ScoredModel a{&scores_a, checked_a.scored()};
    const cpu::ScoredModel b{&scores_b, checked_b.scored()};
    return clusters ? cpu::clustered_variances(a, &b, positives, of_rows, chosen, prevalence, runner)
                    : cpu::paired_variances(a, b, positives, chosen, prevalence, runner);
  }));
}

}  // namespace

void bind_effects(py::module_& module) {
  module.def("row_effects", &row_effects, "scores"_a, "offset"_a, "rows"_a, "table"_a, "num_rows"_a, "groups"_a,
             "num_groups"_a, "metrics"_a, "prevalence"_a, "threads"_a, "progress"_a, "unknown"_a = py::none(),
             "Returns the drop-one effects of rows, summed over the classes of each group: (N * G * M,) integers and "
             "the exponent of each metric.");
  module.def("class_variances", &class_variances, "offset"_a, "tp"_a, "fp"_a, "tied"_a, "num_rows"_a, "metric"_a,
             "prevalence"_a, "threads"_a, "unknown"_a = py::none(), "Returns the variance of a metric of each class.");
  module.def("clustered_variances", &clustered_variances, "scores"_a, "table"_a, "offset"_a, "rows"_a, "clusters"_a,
             "num_clusters"_a, "metric"_a, "prevalence"_a, "threads"_a, "progress"_a,
             "Returns the variance of a metric of each class where rows are clustered.");
  module.def("paired_variances", &paired_variances, "scores_a"_a, "table_a"_a, "scores_b"_a, "table_b"_a, "offset"_a,
             "rows"_a, "clusters"_a, "num_clusters"_a, "metric"_a, "prevalence"_a, "threads"_a, "progress"_a,
             "Returns the variance of the difference of a metric of each class between two models.");
}

}  // namespace vltr
