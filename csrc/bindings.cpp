// The Python module vltr_eval._core: the only file that knows pybind11.
//
// Matrices come as addresses, strides and dtype codes (vltr_eval/arrays.py makes them of arrays); what is O(positives)
// comes and goes as numpy arrays. Python checks meaning; here only what memory safety needs is checked.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "core/sap_core.hpp"
#include "cpu/draws.hpp"
#include "cpu/float_environment.hpp"
#include "cpu/read_floor.hpp"
#include "cpu/scan.hpp"
#include "cpu/simd.hpp"
#include "cpu/weighted_average_precision.hpp"

namespace py = pybind11;
using namespace py::literals;

namespace vltr {
namespace {

using IntArray = py::array_t<std::int64_t, py::array::c_style>;
using RowArray = py::array_t<std::uint32_t, py::array::c_style>;
using DoubleArray = py::array_t<double, py::array::c_style>;

// Hands a vector's memory to numpy.
template <class T>
py::array_t<T> to_numpy(std::vector<T>&& values, std::vector<py::ssize_t> shape = {}) {
  auto* owned = new std::vector<T>(std::move(values));
  if (shape.empty()) shape.push_back(static_cast<py::ssize_t>(owned->size()));
  const py::capsule owner(owned, [](void* p) { delete static_cast<std::vector<T>*>(p); });
  return py::array_t<T>(shape, owned->data(), owner);
}

// Offsets of compressed rows or columns that cover `count` elements in `classes` parts.
bool are_offsets(const std::int64_t* offset, py::ssize_t size, std::int64_t classes, std::int64_t count) {
  return size == classes + 1 && offset[0] == 0 && offset[classes] == count && std::is_sorted(offset, offset + size);
}

void check_table(const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied) {
  if (offset.size() > 0 && are_offsets(offset.data(), offset.size(), offset.size() - 1, tp.size()) &&
      fp.size() == tp.size() && tied.size() == tp.size()) {
    return;
  }
  throw py::value_error("table: expected offsets that rise from 0 to the number of thresholds, and counts for each");
}

cpu::Positives to_positives(const IntArray& offset, const RowArray& rows, const cpu::Matrix& scores) {
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

// Runs a call without the GIL. Its calling thread looks for Ctrl-C and reports progress between items of work; what
// these raise is raised again when the call has stopped.
class Call {
 public:
  Call(int threads, const py::object& progress) : progress_(progress) {
    runner_.threads = threads;
    runner_.poll = [this](double fraction) { return poll(fraction); };
  }
  template <class Function>
  auto operator()(Function&& function) {
    try {
      const py::gil_scoped_release release;
      const cpu::DefaultFloatEnvironment environment;
      return function(runner_);
    } catch (const cpu::Cancelled&) {
      raised_->restore();
      raised_.reset();
    }
    throw py::error_already_set();
  }

 private:
  bool poll(double fraction) {
    const py::gil_scoped_acquire acquire;
    try {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (!progress_.is_none()) progress_(fraction);
      return false;
    } catch (py::error_already_set& error) {
      raised_.emplace(std::move(error));
      return true;
    }
  }

  const py::object& progress_;
  std::optional<py::error_already_set> raised_;
  cpu::Runner runner_;
};

// (offset, thresholds, tp, fp, tied)
py::tuple to_tuple(cpu::RankTable&& table) {
  py::object thresholds =
      std::visit([](auto&& values) -> py::object { return to_numpy(std::move(values)); }, std::move(table.thresholds));
  return py::make_tuple(to_numpy(std::move(table.offset)), thresholds, to_numpy(std::move(table.tp)),
                        to_numpy(std::move(table.fp)), to_numpy(std::move(table.tied)));
}

py::tuple scan(const cpu::Matrix& scores, const IntArray& offset, const RowArray& rows, int trials, std::uint64_t seed,
               bool ranks, const std::optional<std::pair<IntArray, py::array>>& given, int threads,
               const py::object& progress) {
  const cpu::Positives positives = to_positives(offset, rows, scores);
  cpu::RankTable shared;
  cpu::ScanRequest request;
  request.trials = trials;
  request.seed = seed;
  request.ranks = ranks;
  if (given) {
    shared.offset.assign(given->first.data(), given->first.data() + given->first.size());
    with_element_type(scores.dtype, [&](auto tag) {
      using Lane = LaneOf<typename decltype(tag)::type>;
      const auto values = given->second.cast<py::array_t<Lane, py::array::c_style>>();
      if (!are_offsets(given->first.data(), given->first.size(), scores.cols, values.size())) {
        throw py::value_error("thresholds: expected an offset for each class of scores and one more, rising from 0");
      }
      shared.thresholds = std::vector<Lane>(values.data(), values.data() + values.size());
    });
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
            expected_precision(tp.data()[k], negatives, fp.data()[k], std::min(positives, negatives));
      }
    });
    return 0;
  });
  return per_class(offset, tp, fp, tied, num_rows, threads, [&](auto t, auto, auto, auto keys, auto) {
    const double* own = precision.data() + (t - tp.data());
    return mean_over_positives(t, keys, [own](std::int64_t k) { return own[k]; });
  });
}

py::dict build_info() {
  std::vector<std::string> available;
  for (const cpu::Simd level : cpu::simd_available()) available.emplace_back(cpu::simd_name(level));
  return py::dict("version"_a = VLTR_VERSION, "compiler"_a = VLTR_COMPILER, "cuda"_a = VLTR_CUDA_BUILD,
                  "simd"_a = cpu::simd_name(cpu::simd_level()), "simd_available"_a = available);
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.attr("__version__") = VLTR_VERSION;
  module.doc() = "The C++ core of vltr: counting, drawing and ranking. Use vltr_eval, which checks and explains.";

  // BadValue(argument, row, class); vltr_eval makes the sentence.
  static py::handle bad_value = py::exception<cpu::BadValue>(module, "BadValue", PyExc_ValueError).release();
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const cpu::BadValue& error) {
      PyErr_SetObject(bad_value.ptr(), py::make_tuple(error.what(), error.row, error.col).ptr());
    }
  });

  py::class_<cpu::Matrix>(module, "Matrix",
                          "A borrowed (N, C) matrix: row shards of one dtype. The caller keeps the memory alive.")
      .def(py::init([](int dtype, std::int64_t cols) {
             cpu::Matrix matrix;
             matrix.dtype = static_cast<DType>(dtype);
             matrix.cols = cols;
             return matrix;
           }),
           "dtype"_a, "cols"_a)
      .def("append", [](cpu::Matrix& matrix, std::uintptr_t address, std::int64_t rows, std::int64_t row_stride,
                        std::int64_t col_stride) {
        matrix.append(reinterpret_cast<const std::byte*>(address), rows, row_stride, col_stride);
      });

  module.def("find_positives", [](const cpu::Matrix& labels, int threads, const py::object& progress) {
    cpu::Positives positives =
        Call(threads, progress)([&](const cpu::Runner& runner) { return cpu::find_positives(labels, runner); });
    return py::make_tuple(to_numpy(std::move(positives.offset)), to_numpy(std::move(positives.rows)));
  });
  module.def("scan", &scan, "scores"_a, "offset"_a, "rows"_a, "trials"_a, "seed"_a, "ranks"_a, "given"_a, "threads"_a,
             "progress"_a);
  module.def("positive_scores",
             [](const cpu::Matrix& scores, const IntArray& offset, const RowArray& rows, int threads) {
               const cpu::Positives positives = to_positives(offset, rows, scores);
               return to_tuple(Call(threads, py::none())(
                   [&](const cpu::Runner& runner) { return cpu::positive_scores(scores, positives, runner); }));
             });
  module.def("weighted_average_precision", [](const cpu::Matrix& scores, const IntArray& offset, const RowArray& rows,
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

  module.def(
      "read_floor",
      [](std::uintptr_t address, std::int64_t bytes, int threads) {
        return Call(threads, py::none())([&](const cpu::Runner& runner) {
          return cpu::read_floor(reinterpret_cast<const unsigned char*>(address), bytes, runner);
        });
      },
      "Reads memory once on `threads` threads; what benchmarks compare with.");
  module.def("build_info", &build_info);
}

}  // namespace vltr
