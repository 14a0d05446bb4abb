// The operations of a running evaluation on a batch, on CPU or CUDA.
#include "bindings/bindings.hpp"
#include "core/tensor.hpp"
#include "cpu/append_batch.hpp"
#ifdef VLTR_HAVE_CUDA
#include "cuda/append_batch.hpp"
#include "cuda/copy_rows.hpp"
#endif

namespace vltr {
namespace {

Matrix to_matrix(const Tensor& tensor) {
  Matrix matrix;
  matrix.dtype = tensor.dtype;
  matrix.cols = tensor.shape[1];
  matrix.append(tensor.data, tensor.shape[0], tensor.strides[0], tensor.strides[1]);
  return matrix;
}

void append_batch(const Tensor& scores, const Tensor& labels, const Tensor& to_scores, const Tensor& to_labels,
                  std::int64_t first_row, const Tensor& first_bad, int threads) {
  const bool fits = scores.shape.size() == 2 && scores.size() > 0 && labels.shape == scores.shape &&
                    to_scores.shape == scores.shape && to_scores.dtype == scores.dtype && to_scores.contiguous() &&
                    to_labels.shape == scores.shape && to_labels.dtype == DType::kBool && to_labels.contiguous() &&
                    first_bad.size() == 1 && first_bad.dtype == DType::kInt64;
  const bool together = labels.device == scores.device && to_scores.device == scores.device &&
                        to_labels.device == scores.device && first_bad.device == scores.device;
  if (!fits || !together) {
    throw py::value_error("scores: expected (B, C) with labels and rows to fill of that shape, all on one device");
  }
#ifdef VLTR_HAVE_CUDA
  if (scores.on_device()) {
    return cuda::append_batch(to_matrix(scores), to_matrix(labels), to_scores.data, to_labels.data, first_row,
                              reinterpret_cast<unsigned long long*>(first_bad.data),
                              {to_scores.device, to_scores.stream});
  }
#endif
  Call(threads, py::none())([&](const cpu::Runner& runner) {
    cpu::append_batch(to_matrix(scores), to_matrix(labels), to_scores.data, to_labels.data, first_row,
                      reinterpret_cast<std::uint64_t*>(first_bad.data), runner);
  });
}

#ifdef VLTR_HAVE_CUDA
void copy_rows(const Tensor& source, const Tensor& to) {
  if (source.shape.size() != 2 || to.shape != source.shape || to.dtype != source.dtype || !to.contiguous() ||
      !to.on_device() || source.device != to.device) {
    throw py::value_error("to: expected rows in C order of the shape and dtype of source, both on one device");
  }
  cuda::copy_rows(to_matrix(source), to.data, {to.device, to.stream});
}
#endif

}  // namespace

void bind_running(py::module_& module) {
  module.def(
      "append_batch", &append_batch, "scores"_a, "labels"_a, "to_scores"_a, "to_labels"_a, "first_row"_a, "first_bad"_a,
      "threads"_a,
      "Appends a batch, on the stream of to_scores. Lowers first_bad to the unsigned row * C + col of a bad label.");
#ifdef VLTR_HAVE_CUDA
  module.def("copy_rows", &copy_rows, "source"_a, "to"_a,
             "Copies a (B, C) array of any strides into one in C order. Asynchronous on the stream of `to`.");
#endif
}

}  // namespace vltr
