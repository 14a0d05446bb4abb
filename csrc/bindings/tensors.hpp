// Checks of tensor arguments, and the choice of the device that an operation on tensors runs on.
#pragma once

#include <initializer_list>

#include "bindings/bindings.hpp"
#include "core/tensor.hpp"
#ifdef VLTR_HAVE_CUDA
#include "cuda/device.hpp"
#endif

namespace vltr {

using MaybeTensor = std::optional<Tensor>;

// Runs an operation on the device of its tensors. on_device is generic, so a build without CUDA does not compile it.
template <class OnCpu, class OnDevice>
void run_on_device_of(const Tensor& tensor, int threads, const OnCpu& on_cpu, const OnDevice& on_device) {
  if (!tensor.on_device()) return Call(threads, py::none())(on_cpu);
#ifdef VLTR_HAVE_CUDA
  const py::gil_scoped_release release;
  on_device(cuda::Stream{tensor.device, tensor.stream});
#else
  static_cast<void>(on_device);
  throw py::value_error("tensor: expected one in CPU memory, got one on a device");
#endif
}

inline void expect(bool valid, const char* message) {
  if (!valid) throw py::value_error(message);
}

inline bool has_shape(const Tensor& tensor, std::initializer_list<std::int64_t> shape) {
  return std::equal(shape.begin(), shape.end(), tensor.shape.begin(), tensor.shape.end());
}

inline bool is_output(const Tensor& tensor, DType dtype) { return tensor.dtype == dtype && tensor.contiguous(); }

}  // namespace vltr
