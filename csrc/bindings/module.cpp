// The Python module vltr_eval._base._core.
#include "bindings/bindings.hpp"
#include "bindings/unknown.hpp"
#include "core/errors.hpp"
#include "core/matrix.hpp"
#include "cpu/read_floor.hpp"
#include "cpu/simd.hpp"

namespace vltr {
namespace {

py::dict build_info() {
  std::vector<std::string> available;
  for (const cpu::Simd level : cpu::simd_available()) available.emplace_back(cpu::simd_name(level));
  return py::dict("version"_a = VLTR_VERSION, "compiler"_a = VLTR_COMPILER, "cuda"_a = VLTR_CUDA_BUILD,
                  "simd"_a = cpu::simd_name(cpu::simd_level()), "simd_available"_a = available);
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.attr("__version__") = VLTR_VERSION;
  module.doc() = "The C++ core of vltr: counting, drawing and ranking. Use vltr_eval, which checks its arguments.";

  // BadValue(argument, row, class). vltr_eval makes a sentence from it.
  static py::handle bad_value = py::exception<BadValue>(module, "BadValue", PyExc_ValueError).release();
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const BadValue& error) {
      PyErr_SetObject(bad_value.ptr(), py::make_tuple(error.what(), error.row, error.col).ptr());
    }
  });

  bind_unknown(module);
  bind_vlad(module);
  py::class_<Matrix>(module, "Matrix",
                     "A borrowed (N, C) matrix: row shards of one dtype. The caller keeps the memory alive.")
      .def(py::init([](int dtype, std::int64_t cols) {
             Matrix matrix;
             matrix.dtype = static_cast<DType>(dtype);
             matrix.cols = cols;
             return matrix;
           }),
           "dtype"_a, "cols"_a)
      .def("append",
           [](Matrix& matrix, std::uintptr_t address, std::int64_t rows, std::int64_t row_stride,
              std::int64_t col_stride) {
             matrix.append(reinterpret_cast<const std::byte*>(address), rows, row_stride, col_stride);
           })
      .def(
          "leave_out",
          [](const Matrix& matrix, const LentUnknownCells& unknown) {
            unknown.check_fits(matrix.rows, matrix.cols);
            Matrix some = matrix;
            some.unknown = &unknown.cells();
            return some;
          },
          "unknown"_a, py::keep_alive<0, 2>());

  bind_arrays(module);
  bind_curves(module);
  bind_details(module);
  bind_effects(module);
  bind_bootstrap(module);
  bind_boxes(module);
  bind_evaluation(module);
#if defined(VLTR_HAVE_CUDA)
  bind_cuda(module);
#endif
#if defined(VLTR_CUDA_EMULATED)
  bind_emulator(module);
#endif
  bind_frames(module);
  bind_records(module);
  bind_ranked_lists(module);
  bind_running(module);
  bind_tables(module);

  module.def(
      "read_floor",
      [](std::uintptr_t address, std::int64_t bytes, int threads) {
        return Call(threads, py::none())([&](const cpu::Runner& runner) {
          return cpu::read_floor(reinterpret_cast<const unsigned char*>(address), bytes, runner);
        });
      },
      "Reads memory once on `threads` threads: the lower bound that benchmarks report.");
  module.def("build_info", &build_info);
}

}  // namespace vltr
