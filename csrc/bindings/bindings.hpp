// Shared by the files of this folder, the only ones that use pybind11.
//
// Matrices come as addresses, strides and dtype codes, which vltr_eval/_base/arrays.py takes from arrays. Data of size
// O(positives) comes and goes as numpy arrays. Python checks the meaning of arguments; these files check memory safety.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "core/rank_table.hpp"
#include "cpu/float_environment.hpp"
#include "cpu/pool.hpp"
#include "cpu/positives.hpp"

namespace vltr {

namespace py = pybind11;
using namespace py::literals;

// In C order and aligned. numpy copies other arrays, such as a field of packed records.
template <class T>
using NumberArray = py::array_t<T, py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_>;
using IntArray = NumberArray<std::int64_t>;
using RowArray = NumberArray<std::uint32_t>;
using DoubleArray = NumberArray<double>;

// Moves a vector's memory to numpy.
template <class T, class Allocator>
py::array_t<T> to_numpy(std::vector<T, Allocator>&& values, std::vector<py::ssize_t> shape = {}) {
  using Vector = std::vector<T, Allocator>;
  auto* owned = new Vector(std::move(values));
  if (shape.empty()) shape.push_back(static_cast<py::ssize_t>(owned->size()));
  const py::capsule owner(owned, [](void* p) { delete static_cast<Vector*>(p); });
  return py::array_t<T>(shape, owned->data(), owner);
}

template <class T>
py::array_t<T> to_numpy(LargeArray<T>&& values) {
  auto* owned = new LargeArray<T>(std::move(values));
  const py::capsule owner(owned, [](void* p) { delete static_cast<LargeArray<T>*>(p); });
  return py::array_t<T>(static_cast<py::ssize_t>(owned->count()), owned->data(), owner);
}

// The offsets and rows of positives. Later calls borrow them and check them first, so no other thread may change them.
template <class Offsets, class Rows>
py::tuple positives_to_numpy(Offsets&& offset, Rows&& rows) {
  const py::array arrays[] = {to_numpy(std::move(offset)), to_numpy(std::move(rows))};
  for (const py::array& array : arrays) {
    py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  }
  return py::make_tuple(arrays[0], arrays[1]);
}

// Runs a call without the GIL. Between items of work the calling thread checks for Ctrl-C and reports progress. An
// exception of these stops the call and is then raised again.
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
      if (!progress_.is_none()) progress_(fraction_ = std::max(fraction_, fraction));
      return false;
    } catch (py::error_already_set& error) {
      raised_.emplace(std::move(error));
      return true;
    }
  }

  const py::object& progress_;
  std::optional<py::error_already_set> raised_;
  cpu::Runner runner_;
  double fraction_ = 0.0;  // never decreases, also during a second search for a NaN
};

// Conversion of positives, thresholds and cells from Python, with the checks for memory safety, and of a table to
// Python. Positives and cells are borrowed.
cpu::Positives to_positives(const IntArray& offset, const RowArray& rows, std::int64_t num_rows,
                            std::int64_t num_classes);
RankTable to_thresholds(const IntArray& offset, const py::array& scores_of_positives, const Matrix& scores);
Cells to_cells(const RowArray& rows, const RowArray& classes, const Matrix& scores);
py::tuple to_tuple(RankTable&& table);  // (offset, thresholds, tp, fp, tied)

// True for offsets of `classes` lists with `count` elements in total.
inline bool are_offsets(const std::int64_t* offset, py::ssize_t size, std::int64_t classes, std::int64_t count) {
  return size > 0 && size == classes + 1 && offset[0] == 0 && offset[classes] == count &&
         std::is_sorted(offset, offset + size);
}

// Raises ValueError unless these are the columns of a rank table, so that metrics read no other memory.
void check_table(const IntArray& offset, const IntArray& tp, const IntArray& fp, const IntArray& tied,
                 std::int64_t num_rows, int threads = 1);

// Each function binds one group of operations; module.cpp calls all of them.
void bind_arrays(py::module_& module);
void bind_bootstrap(py::module_& module);
void bind_boxes(py::module_& module);
void bind_cuda(py::module_& module);
void bind_emulator(py::module_& module);  // in the emulated build
void bind_curves(py::module_& module);
void bind_details(py::module_& module);
void bind_effects(py::module_& module);
void bind_evaluation(py::module_& module);
void bind_frames(py::module_& module);
void bind_records(py::module_& module);
void bind_ranked_lists(py::module_& module);
void bind_running(py::module_& module);
void bind_tables(py::module_& module);
void bind_unknown(py::module_& module);
void bind_vlad(py::module_& module);

}  // namespace vltr
