// Labels, the rank scan and the metrics on a CUDA device. They overload the functions of evaluation.cpp and
// effects.cpp; the type of the matrix or table selects the overload.
#include "bindings/effects.hpp"
#include "bindings/unknown.hpp"
#include "cuda/positives.hpp"
#include "cuda/rank_table.hpp"
#include "cuda/count_reached.hpp"
#include "cuda/rank_scan.hpp"
#include "cuda/row_effects.hpp"
#include "cuda/thresholds.hpp"
#include "cuda/unknown.hpp"
#include "cuda/weighted_average_precision.hpp"

namespace vltr {
namespace {

// A borrowed matrix in device memory, and the stream that its content is ordered on.
struct CudaMatrix {
  Matrix matrix;
  cuda::Stream stream;
  std::shared_ptr<const cuda::UnknownBits> unknown;  // the cells that are left out; null if all are known
};

void check_fits(const cuda::UnknownBits& unknown, const CudaMatrix& matrix) {
  if (unknown.rows != matrix.matrix.rows || unknown.classes != matrix.matrix.cols) {
    throw py::value_error("unknown: expected cells of a matrix of this shape");
  }
  if (unknown.stream().device != matrix.stream.device) {
    throw py::value_error("unknown: expected cells on the device of the matrix");
  }
}

CudaMatrix leave_out(const CudaMatrix& scores, std::shared_ptr<const cuda::UnknownBits> unknown) {
  check_fits(*unknown, scores);
  CudaMatrix some = scores;
  some.unknown = std::move(unknown);
  return some;
}

// Appends a shard. Kernels need aligned elements.
void append(CudaMatrix& scores, std::uintptr_t address, std::int64_t rows, std::int64_t row_stride,
            std::int64_t col_stride) {
  const auto size = static_cast<std::int64_t>(
      with_element_type(scores.matrix.dtype, [](auto tag) { return sizeof(typename decltype(tag)::type); }));
  if (rows > 0 &&
      (static_cast<std::int64_t>(address) % size != 0 || row_stride % size != 0 || col_stride % size != 0)) {
    throw py::value_error(
        "array: expected elements at multiples of their size in device memory, got a misaligned address or stride");
  }
  scores.matrix.append(reinterpret_cast<const std::byte*>(address), rows, row_stride, col_stride);
}

// Calls function() without the GIL. Positives and unknown cells are on the library's stream, so the scores' stream
// waits for it first. If the call throws while its kernels run, the library's stream waits for them, so that neither is
// freed too early.
template <class Function>
auto with_positives(const CudaMatrix& scores, const cuda::Positives& positives, const Function& function) {
  if (positives.rows != scores.matrix.rows || positives.classes != scores.matrix.cols) {
    throw py::value_error("positives: expected those of a matrix of the shape of scores");
  }
  if (positives.stream().device != scores.stream.device) {
    throw py::value_error("positives: expected them on the device of scores");
  }
  const py::gil_scoped_release release;
  cuda::wait_for(scores.stream, positives.stream());
  if (scores.unknown != nullptr) cuda::wait_for(scores.stream, scores.unknown->stream());
  try {
    return function();
  } catch (...) {
    cuda::wait_for(positives.stream(), scores.stream);
    if (scores.unknown != nullptr) cuda::wait_for(scores.unknown->stream(), scores.stream);
    throw;
  }
}

py::tuple rank_scan(const CudaMatrix& scores, const cuda::Positives& positives, std::int64_t trials, std::uint64_t seed,
                    bool ranks, const std::optional<std::pair<IntArray, py::array>>& given, int,
                    const py::object& progress) {
  RankTable shared;
  if (given) shared = to_thresholds(given->first, given->second, scores.matrix);
  cuda::RankScanResult result = with_positives(scores, positives, [&] {
    return cuda::rank_scan(scores.matrix, positives, scores.unknown.get(),
                           {trials, seed, ranks, given ? &shared : nullptr}, scores.stream);
  });
  if (!progress.is_none()) progress(1.0);
  py::object trial_matrix = py::none();
  if (trials > 0) {
    trial_matrix = to_numpy(std::move(result.trials),
                            {static_cast<py::ssize_t>(trials), static_cast<py::ssize_t>(scores.matrix.cols)});
  }
  py::object rank = py::none();
  if (ranks) rank = to_numpy(std::move(result.ranks));
  return py::make_tuple(std::move(result.table), trial_matrix, rank);
}

// The tables of effects are made on the CPU.
py::tuple row_effects(const CudaMatrix& scores, const cuda::Positives& positives, const TableArguments& table,
                      std::int64_t num_rows, const IntArray& groups, std::int64_t num_groups,
                      const std::vector<int>& metrics, double prevalence, int threads, const py::object& progress,
                      const std::optional<IntArray>& unknown) {
  const CheckedTable checked(table, scores.matrix, to_class_rows(num_rows, unknown, scores.matrix.cols), threads);
  const Span<const std::int64_t> group_of = to_groups(groups, num_groups, scores.matrix.cols);
  const Array<EffectMetric> chosen = to_metrics(metrics);
  const cpu::EffectTables tables = Call(threads, py::none())([&](const cpu::Runner& runner) {
    return cpu::effect_tables(checked.columns, {chosen.data(), chosen.count()}, prevalence, runner);
  });
  const std::int64_t keys = checked.columns.offset[scores.matrix.cols];
  const cuda::EffectTables of_rows{&checked.thresholds,
                                   tables.metrics,
                                   tables.width,
                                   {tables.negative.data(), 2 * keys * tables.width},
                                   {tables.positive.data(), keys * tables.width},
                                   {tables.base.data(), tables.base.count()},
                                   group_of,
                                   num_groups};
  Array<std::int64_t> sums = with_positives(scores, positives, [&] {
    try {
      return cuda::row_effects(scores.matrix, positives, scores.unknown.get(), of_rows, scores.stream);
    } catch (const MissingThreshold&) {
      cpu::throw_other_table();
    }
  });
  if (!progress.is_none()) progress(1.0);
  return py::make_tuple(to_numpy(std::move(sums)), exponents_to_numpy(tables.exponents));
}

// A metric of each class of a table. The overload on the CPU also takes the number of rows and of threads.
template <class... Arguments>
auto per_class(Array<double> (*metric)(const cuda::DeviceRankTable&, Arguments...)) {
  return [metric](const cuda::DeviceRankTable& table, std::int64_t, int, Arguments... arguments) {
    Array<double> values;
    {
      const py::gil_scoped_release release;
      values = metric(table, arguments...);
    }
    return to_numpy(std::move(values));
  };
}

}  // namespace

void bind_cuda(py::module_& module) {
  py::class_<CudaMatrix>(module, "CudaMatrix",
                         "A borrowed (N, C) matrix in device memory, and the stream that its content is ordered on.")
      .def(py::init([](int dtype, std::int64_t cols, int device, std::uintptr_t stream) {
             CudaMatrix scores;
             scores.matrix.dtype = static_cast<DType>(dtype);
             scores.matrix.cols = cols;
             scores.stream = {device, stream};
             return scores;
           }),
           "dtype"_a, "cols"_a, "device"_a, "stream"_a)
      .def("append", &append)
      .def(
          "leave_out",
          [](const CudaMatrix& scores, const LentUnknownCells& unknown) {
            unknown.check_fits(scores.matrix.rows, scores.matrix.cols);
            const py::gil_scoped_release release;
            return leave_out(scores,
                             std::make_shared<cuda::UnknownBits>(cuda::upload_unknown(unknown.cells(), scores.stream)));
          },
          "unknown"_a)
      .def("leave_out", &leave_out, "unknown"_a);

  py::class_<cuda::UnknownBits, std::shared_ptr<cuda::UnknownBits>>(
      module, "CudaUnknownCells", "The cells that are neither positive nor negative of their class, in device memory.")
      .def_property_readonly("device", [](const cuda::UnknownBits& unknown) { return unknown.stream().device; })
      .def_property_readonly("counts",
                             [](const cuda::UnknownBits& unknown) {
                               return to_numpy(Array<std::int64_t>(unknown.count.begin(), unknown.count.end()));
                             })
      .def("to_numpy",
           [](const cuda::UnknownBits& unknown) {
             Array<std::uint64_t> bits;
             {
               const py::gil_scoped_release release;
               bits = cuda::to_host(unknown);
             }
             return to_numpy(std::move(bits), {static_cast<py::ssize_t>(unknown.classes),
                                               static_cast<py::ssize_t>((unknown.rows + 63) / 64)});
           })
      .def(
          "first_positive",
          [](const cuda::UnknownBits& unknown, const cuda::Positives& positives) -> py::object {
            if (positives.rows != unknown.rows || positives.classes != unknown.classes ||
                positives.stream().device != unknown.stream().device) {
              throw py::value_error("positives: expected those of a matrix of the same shape and device");
            }
            std::int64_t found = -1;
            {
              const py::gil_scoped_release release;
              found = cuda::first_unknown_positive(positives, unknown);
            }
            if (found < 0) return py::none();
            return py::make_tuple(found / unknown.classes, found % unknown.classes);
          },
          "positives"_a);
  module.def(
      "find_unknown",
      [](const CudaMatrix& labels, unsigned marks, const cuda::UnknownBits* others) {
        if (others != nullptr) check_fits(*others, labels);
        const py::gil_scoped_release release;
        return std::make_shared<cuda::UnknownBits>(cuda::find_unknown(labels.matrix, marks, others, labels.stream));
      },
      "labels"_a, "marks"_a, "others"_a = py::none());
  module.def(
      "read_mask",
      [](const CudaMatrix& mask) {
        const py::gil_scoped_release release;
        return std::make_shared<cuda::UnknownBits>(cuda::read_mask(mask.matrix, mask.stream));
      },
      "mask"_a);
  module.def(
      "upload_unknown",
      [](const CudaMatrix& labels, const LentUnknownCells& unknown) {
        unknown.check_fits(labels.matrix.rows, labels.matrix.cols);
        const py::gil_scoped_release release;
        // On the library's stream: the caller's may be destroyed before the next use.
        return std::make_shared<cuda::UnknownBits>(
            cuda::upload_unknown(unknown.cells(), cuda::library_stream(labels.stream.device)));
      },
      "labels"_a, "unknown"_a);

  py::class_<cuda::Positives>(module, "CudaPositives", "The positive rows of each class, in device memory.")
      .def_property_readonly("device", [](const cuda::Positives& positives) { return positives.stream().device; })
      .def("to_numpy", [](const cuda::Positives& positives) {
        std::vector<std::int64_t> offset;
        std::vector<std::uint32_t> rows;
        {
          const py::gil_scoped_release release;
          offset = positives.offset.to_host();
          rows = positives.row.to_host();
        }
        return positives_to_numpy(std::move(offset), std::move(rows));
      });
  module.def(
      "find_positives",
      [](const CudaMatrix& labels, int, const py::object&, unsigned marks, const cuda::UnknownBits* unread) {
        if (unread != nullptr) check_fits(*unread, labels);
        const py::gil_scoped_release release;
        if (unread != nullptr) cuda::wait_for(labels.stream, unread->stream());
        return cuda::find_positives(labels.matrix, marks, cuda::view_of(unread), labels.stream);
      },
      "labels"_a, "threads"_a, "progress"_a, "marks"_a = 0, "unread"_a = py::none());
  module.def("index_positives", [](const CudaMatrix& indices, std::int64_t classes) {
    const py::gil_scoped_release release;
    return cuda::index_positives(indices.matrix, classes, indices.stream);
  });
  module.def("upload_positives", [](const CudaMatrix& scores, const IntArray& offset, const RowArray& rows) {
    const cpu::Positives positives = to_positives(offset, rows, scores.matrix.rows, scores.matrix.cols);
    const py::gil_scoped_release release;
    return cuda::upload_positives(positives.offset, positives.rows, scores.matrix.rows, scores.stream);
  });

  py::class_<cuda::DeviceRankTable>(module, "CudaRankTable", "A rank table in device memory.")
      .def("to_numpy", [](const cuda::DeviceRankTable& table) {
        RankTable host;
        {
          const py::gil_scoped_release release;
          host = cuda::to_host(table);
        }
        return to_tuple(std::move(host));
      });
  module.def("rank_scan", &rank_scan, "scores"_a, "positives"_a, "trials"_a, "seed"_a, "ranks"_a, "given"_a,
             "threads"_a, "progress"_a);
  module.def("row_effects", &row_effects, "scores"_a, "positives"_a, "table"_a, "num_rows"_a, "groups"_a,
             "num_groups"_a, "metrics"_a, "prevalence"_a, "threads"_a, "progress"_a, "unknown"_a = py::none());
  module.def("positive_scores", [](const CudaMatrix& scores, const cuda::Positives& positives, int) {
    return to_tuple(with_positives(scores, positives, [&] {
      return cuda::to_host(cuda::positive_scores(scores.matrix, positives, scores.stream));
    }));
  });
  module.def("weighted_average_precision",
             [](const CudaMatrix& scores, const cuda::Positives& positives, const CudaMatrix& sample_weight, int) {
               if (sample_weight.matrix.rows != scores.matrix.rows)
                 throw py::value_error("weights: expected one for each row");
               return to_numpy(with_positives(scores, positives, [&] {
                 return cuda::weighted_average_precision(scores.matrix, positives, scores.unknown.get(),
                                                         sample_weight.matrix, scores.stream);
               }));
             });

  module.def(
      "count_reached",
      [](const CudaMatrix& scores, const RowArray& rows, const RowArray& classes,
         const std::pair<IntArray, py::array>& thresholds, int) {
        const Cells cells = to_cells(rows, classes, scores.matrix);
        const RankTable given = to_thresholds(thresholds.first, thresholds.second, scores.matrix);
        std::vector<std::uint32_t> counts;
        {
          const py::gil_scoped_release release;
          counts = cuda::count_reached(scores.matrix, cells, given, scores.stream);
        }
        return to_numpy(std::move(counts));
      },
      "scores"_a, "rows"_a, "classes"_a, "thresholds"_a, "threads"_a);

  module.def("average_precision", per_class(&cuda::average_precision));
  module.def("roc_auc", per_class(&cuda::roc_auc));
  module.def("expected_sampled_average_precision", per_class(&cuda::expected_sampled_average_precision));
  module.def("sampled_average_precision_chance", per_class(&cuda::sampled_average_precision_chance));
  module.def("calibrated_average_precision", per_class(&cuda::calibrated_average_precision));
}

}  // namespace vltr
