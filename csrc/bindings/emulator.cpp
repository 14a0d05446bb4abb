// Streams of the emulator for Python tests: what torch.cuda.Stream is on a GPU. Only in the emulated build.
#include "bindings/bindings.hpp"
#include "runtime_api.hpp"

namespace vltr {
namespace {

std::size_t emulator_pending() { return ::vltr::emulator::pending_work(); }

cudaStream_t to_stream(std::uintptr_t handle) { return reinterpret_cast<cudaStream_t>(handle); }

void check(cudaError_t status) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw std::runtime_error(cudaGetErrorName(status));
}

}  // namespace

void bind_emulator(py::module_& module) {
  py::module_ emulator = module.def_submodule("_emulator", "Streams of the CUDA emulator, for tests.");
  emulator.def(
      "make_stream",
      [](bool blocking) {
        cudaStream_t stream = nullptr;
        check(cudaStreamCreateWithFlags(&stream, blocking ? 0 : cudaStreamNonBlocking));
        return reinterpret_cast<std::uintptr_t>(stream);
      },
      "blocking"_a = false);
  emulator.def("destroy_stream", [](std::uintptr_t stream) { check(cudaStreamDestroy(to_stream(stream))); });
  emulator.def("synchronize", [](std::uintptr_t stream) { check(cudaStreamSynchronize(to_stream(stream))); });
  emulator.def("synchronize_device", [] { check(cudaDeviceSynchronize()); });
  emulator.def("pending", &emulator_pending, "Pieces of work that were issued and have not run yet.");
}

}  // namespace vltr
