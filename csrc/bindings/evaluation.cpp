// Labels, the scan and the metrics, on CPU threads.
#include "bindings/bindings.hpp"
#include "core/sap_core.hpp"
#include "cpu/draws.hpp"
#include "cpu/scan.hpp"
#include "cpu/weighted_average_precision.hpp"

namespace vltr {
namespace {

// Offsets of compressed rows or columns that cover `count` elements in `classes` parts.
bool are_offsets(const std::int64_t* offset, py::ssize_t size, std::int64_t classes, std::int64_t count) {
  return size == classes + 1 && offset[0] == 0 && offset[classes] == count && std::is_sorted(offset, offset + size);
}

}  // namespace

cpu::Positives to_positives(const IntArray& offset, const RowArray& rows, const Matrix& scores) {
  const std::int64_t num_rows = scores.rows;
  cpu::Positives positives;
  positives.offset.assign(offset.data(), offset.data() + offset.size());
  positives.rows.assign(rows.data(), rows.data() + rows.size());
  bool sound = are_offsets(offset.data(), offset.size(), scores.cols, rows.size());
  for (std::size_t c = 0; sound && c + 1 < positives.offset.size(); ++c) {
    for (std::int64_t i = positives.offset[c]; sound && i < positives.offset[c + 1]; ++i) {
      const std::uint32_t row = positives.rows[static_cast<std::size_t>(i)];
      sound = row < num_rows && (i == positives.offset[c] || positives.rows[static_cast<std::size_t>(i) - 1] < row);
    }
  }
  if (!sound)
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
    const auto values = scores_of_positives.cast<py::array_t<Lane, py::array::c_style>>();
    if (!are_offsets(offset.data(), offset.size(), scores.cols, values.size())) {
      throw py::value_error("thresholds: expected an offset for each class of scores and one more, rising from 0");
    }
    thresholds.thresholds = std::vector<Lane>(values.data(), values.data() + values.size());
  });
  return thresholds;
}

// (offset, thresholds, tp, fp, tied)
py::tuple to_tuple(RankTable&& table) {
  py::object thresholds =
      std::visit([](auto&& values) -> py::object { return to_numpy(std::move(values)); }, std::move(table.thresholds));
  return py::make_tuple(to_numpy(std::move(table.offset)), thresholds, to_numpy(std::move(table.tp)),
                        to_numpy(std::move(table.fp)), to_numpy(std::move(table.tied)));
}

namespace {

void check_table(const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied) {
  if (offset.size() > 0 && are_offsets(offset.data(), offset.size(), offset.size() - 1, tp.size()) &&
      fp.size() == tp.size() && tied.size() == tp.size()) {
    return;
  }
  throw py::value_error("table: expected offsets that rise from 0 to the number of thresholds, and counts for each");
}

py::tuple scan(const Matrix& scores, const IntArray& offset, const RowArray& rows, int trials, std::uint64_t seed,
               bool ranks, const std::optional<std::pair<IntArray, py::array>>& given, int threads,
               const py::object& progress) {
  const cpu::Positives positives = to_positives(offset, rows, scores);
  RankTable shared;
  cpu::ScanRequest request;
  request.trials = trials;
  request.seed = seed;
  request.ranks = ranks;
  if (given) {
    shared = to_thresholds(given->first, given->second, scores);
    request.given = &shared;
  }
  cpu::ScanResult result =
      Call(threads, progress)([&](const cpu::Runner& runner) { return cpu::scan(scores, positives, request, runner); });
  py::object trial_matrix = py::none();
  if (trials > 0) trial_matrix = to_numpy(std::move(result.trials), {trials, static_cast<py::ssize_t>(scores.cols)});
  py::object rank = py::none();
  if (ranks) rank = to_numpy(std::move(result.ranks));
  return py::make_tuple(to_tuple(std::move(result.table)), trial_matrix, rank);
}

// Calls metric(tp, fp, tied, count, negatives) for each class of a rank table.
template <class Metric>
DoubleArray per_class(const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied,
                      std::int64_t num_rows, int threads, const Metric& metric) {
  check_table(offset, tp, fp, tied);
  const auto classes = static_cast<std::int64_t>(offset.size()) - 1;
  std::vector<double> out(static_cast<std::size_t>(classes));
  const std::int64_t* const begin = offset.data();
  Call(threads, py::none())([&](const cpu::Runner& runner) {
    constexpr std::int64_t kClassesPerItem = 8;
    runner.run((classes + kClassesPerItem - 1) / kClassesPerItem, [&](std::int64_t item, int) {
      for (std::int64_t c = item * kClassesPerItem; c < std::min(classes, (item + 1) * kClassesPerItem); ++c) {
        const std::int64_t first = begin[c];
        const std::int64_t count = begin[c + 1] - first;
        const std::int64_t positives = count == 0 ? 0 : tp.data()[first + count - 1];
        out[static_cast<std::size_t>(c)] =
            metric(tp.data() + first, fp.data() + first, tied.data() + first, count, num_rows - positives);
      }
    });
    return 0;
  });
  return to_numpy(std::move(out));
}

// By thresholds, not by classes: one threshold of a large class is a long walk, and a call must be able to stop.
DoubleArray expected_sampled_average_precisions(const IntArray& offset, const IntArray& tp, const IntArray& fp,
                                                const IntArray& tied, std::int64_t num_rows, int threads) {
  check_table(offset, tp, fp, tied);
  const std::int64_t* const begin = offset.data();
  const std::int64_t* const end = begin + offset.size();
  const std::int64_t count = tp.size();
  std::vector<double> precision(static_cast<std::size_t>(count));
  Call(threads, py::none())([&](const cpu::Runner& runner) {
    constexpr std::int64_t kThresholdsPerItem = 64;
    runner.run((count + kThresholdsPerItem - 1) / kThresholdsPerItem, [&](std::int64_t item, int) {
      const std::int64_t first = item * kThresholdsPerItem;
      const std::int64_t* after = std::upper_bound(begin, end, first);  // end of the class of threshold k
      for (std::int64_t k = first; k < std::min(count, first + kThresholdsPerItem); ++k) {
        while (*after <= k) ++after;
        const std::int64_t positives = tp.data()[*after - 1];
        const std::int64_t negatives = num_rows - positives;
        precision[static_cast<std::size_t>(k)] =
            expected_precision(tp.data()[k], negatives, fp.data()[k], sap_draws(positives, negatives));
      }
    });
    return 0;
  });
  return per_class(offset, tp, fp, tied, num_rows, threads, [&](auto t, auto, auto, auto keys, auto) {
    const double* own = precision.data() + (t - tp.data());
    return mean_over_positives(t, keys, [own](std::int64_t k) { return own[k]; });
  });
}

}  // namespace

void bind_evaluation(py::module_& module) {
  module.def("find_positives", [](const Matrix& labels, int threads, const py::object& progress) {
    cpu::Positives positives =
        Call(threads, progress)([&](const cpu::Runner& runner) { return cpu::find_positives(labels, runner); });
    return py::make_tuple(to_numpy(std::move(positives.offset)), to_numpy(std::move(positives.rows)));
  });
  module.def("scan", &scan, "scores"_a, "offset"_a, "rows"_a, "trials"_a, "seed"_a, "ranks"_a, "given"_a, "threads"_a,
             "progress"_a);
  module.def("positive_scores", [](const Matrix& scores, const IntArray& offset, const RowArray& rows, int threads) {
    const cpu::Positives positives = to_positives(offset, rows, scores);
    return to_tuple(Call(threads, py::none())(
        [&](const cpu::Runner& runner) { return cpu::positive_scores(scores, positives, runner); }));
  });
  module.def("weighted_average_precision", [](const Matrix& scores, const IntArray& offset, const RowArray& rows,
                                              const DoubleArray& weights, int threads) {
    if (weights.size() != scores.rows) throw py::value_error("weights: expected one for each row");
    const cpu::Positives positives = to_positives(offset, rows, scores);
    return to_numpy(Call(threads, py::none())([&](const cpu::Runner& runner) {
      return cpu::weighted_average_precision(scores, positives, weights.data(), runner);
    }));
  });
  module.def(
      "draw_negatives",
      [](const RowArray& positives, std::int64_t num_rows, std::uint32_t cls, std::uint32_t trial, std::uint64_t seed) {
        if (positives.size() >= num_rows - positives.size())
          throw py::value_error("positives: expected fewer than negatives");
        const auto count = static_cast<std::uint32_t>(positives.size());
        const std::uint32_t* own = positives.data();
        std::vector<std::uint32_t> rows(count);
        std::vector<std::uint32_t> displaced(count);
        Call(1, py::none())([&](const cpu::Runner& runner) {
          displaced_negatives(own, count, static_cast<std::uint32_t>(num_rows), displaced.data());
          const KeyedPermutation permutation =
              keyed_permutation(static_cast<std::uint32_t>(num_rows) - count, seed, cls, trial);
          constexpr std::int64_t kPerItem = 1 << 16;
          runner.run((count + kPerItem - 1) / kPerItem, [&](std::int64_t item, int) {
            const auto end = static_cast<std::uint32_t>(std::min<std::int64_t>(count, (item + 1) * kPerItem));
            for (auto i = static_cast<std::uint32_t>(item * kPerItem); i < end; ++i) {
              rows[i] = row_of_negative(own, count, displaced.data(), permute(permutation, i));
            }
          });
          return 0;
        });
        return to_numpy(std::move(rows));
      },
      "Rows of the negatives that a trial draws, in draw order. The class has fewer positives than negatives.");

  module.def("average_precision", [](const IntArray& offset, const IntArray& tp, const IntArray& fp,
                                     const IntArray& tied, std::int64_t num_rows, int threads) {
    return per_class(offset, tp, fp, tied, num_rows, threads,
                     [](auto t, auto f, auto, auto count, auto) { return average_precision(t, f, count); });
  });
  module.def("calibrated_average_precision",
             [](const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied,
                std::int64_t num_rows, int threads, double prevalence) {
               return per_class(offset, tp, fp, tied, num_rows, threads,
                                [prevalence](auto t, auto f, auto, auto count, auto negatives) {
                                  return calibrated_average_precision(t, f, count, negatives, prevalence);
                                });
             });
  module.def("roc_auc", [](const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied,
                           std::int64_t num_rows, int threads) {
    return per_class(offset, tp, fp, tied, num_rows, threads, [](auto t, auto f, auto e, auto count, auto negatives) {
      return roc_auc(t, f, e, count, negatives);
    });
  });
  module.def("expected_sampled_average_precision", &expected_sampled_average_precisions);
  module.def("sampled_average_precision_chance", [](const IntArray& offset, const IntArray& tp, const IntArray& fp,
                                                    const IntArray& tied, std::int64_t num_rows, int threads) {
    return per_class(offset, tp, fp, tied, num_rows, threads, [](auto t, auto, auto, auto count, auto negatives) {
      return sampled_average_precision_chance(count == 0 ? 0 : t[count - 1], negatives);
    });
  });
}

}  // namespace vltr
