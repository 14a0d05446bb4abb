// Labels, the rank scan and the metrics on a CUDA device. They overload the functions of evaluation.cpp and
// effects.cpp; the type of the matrix or table selects the overload.
#include "bindings/effects.hpp"
#include "cuda/positives.hpp"
#include "cuda/rank_table.hpp"
#include "cuda/count_reached.hpp"
#include "cuda/rank_scan.hpp"
#include "cuda/row_effects.hpp"
#include "cuda/thresholds.hpp"
#include "cuda/weighted_average_precision.hpp"

namespace vltr {
namespace {

// A borrowed matrix in device memory, and the stream that its content is ordered on.
struct CudaMatrix {
  Matrix matrix;
  cuda::Stream stream;
};

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

// Calls function() without the GIL. Positives are on the library's stream, so the scores' stream waits for it
// first. If the call throws while its kernels run, the library's stream waits for them, so that the positives
// are not freed too early.
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
  try {
    return function();
  } catch (...) {
    cuda::wait_for(positives.stream(), scores.stream);
    throw;
  }
}

py::tuple rank_scan(const CudaMatrix& scores, const cuda::Positives& positives, std::int64_t trials, std::uint64_t seed,
                    bool ranks, const std::optional<std::pair<IntArray, py::array>>& given, int,
                    const py::object& progress) {
  RankTable shared;
  if (given) shared = to_thresholds(given->first, given->second, scores.matrix);
  cuda::RankScanResult result = with_positives(scores, positives, [&] {
    return cuda::rank_scan(scores.matrix, positives, {trials, seed, ranks, given ? &shared : nullptr}, scores.stream);
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
                      const std::vector<int>& metrics, double prevalence, int threads, const py::object& progress) {
  const CheckedTable checked(table, scores.matrix, {num_rows, nullptr}, threads);
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
      return cuda::row_effects(scores.matrix, positives, of_rows, scores.stream);
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
      .def("append", &append);

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
  module.def("find_positives", [](const CudaMatrix& labels, int, const py::object&) {
    const py::gil_scoped_release release;
    return cuda::find_positives(labels.matrix, labels.stream);
  });
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
             "num_groups"_a, "metrics"_a, "prevalence"_a, "threads"_a, "progress"_a);
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
                 return cuda::weighted_average_precision(scores.matrix, positives, sample_weight.matrix, scores.stream);
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
