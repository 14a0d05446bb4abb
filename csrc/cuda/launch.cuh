// Kernel launches and dynamic shared memory, in one syntax for nvcc and for the emulator.
//
//   __global__ void __launch_bounds__(256) add(const float* x, float* y) { VLTR_DYNAMIC_SHARED(float, sums); ... }
//   launch(stream, "add", add, blocks, 256, 256 * sizeof(float), x, y);
//
// Kernels use no inline PTX and no library of device code, so that the emulator runs the same source.
#pragma once

#include <cuda_runtime.h>

#include "core/platform.hpp"
#include "cuda/device.hpp"

#if defined(__CUDACC__)
#define VLTR_DYNAMIC_SHARED(T, name)                                   \
  extern __shared__ __align__(16) unsigned char vltr_dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(vltr_dynamic_shared)
#else
#define VLTR_DYNAMIC_SHARED(T, name) T* name = static_cast<T*>(vltr::emulator::dynamic_shared())
#endif

namespace vltr::cuda {

constexpr unsigned kWholeWarp = 0xFFFFFFFFu;
constexpr int kWarp = 32;

inline cudaStream_t native(const Stream& stream) { return reinterpret_cast<cudaStream_t>(stream.handle); }

// Throws Error if the status is not success. The sentence has the operation and CUDA's name of the error. Clears the
// error, so that later calls do not report it again.
void check(cudaError_t status, const char* doing);

// Multiprocessors of the stream's device, for the size of a grid.
int multiprocessors(const Stream& stream);
int shared_memory_of_multiprocessor(const Stream& stream);

// The number of blocks that cover `units` units of work.
inline std::int64_t blocks_for(std::int64_t units, std::int64_t units_of_block) {
  return (units + units_of_block - 1) / units_of_block;
}

// At most about as many blocks as run at once, for kernels that stride over their work.
inline std::int64_t at_once(const Stream& stream, std::int64_t blocks) {
  const std::int64_t resident = std::int64_t{multiprocessors(stream)} * 8;
  return blocks < resident ? blocks : resident;
}

// Launches a kernel on the stream, whose device must be current (DeviceGuard). Throws Error if the launch fails.
template <class... Parameters, class... Arguments>
void launch(const Stream& stream, const char* name, void (*kernel)(Parameters...), std::int64_t blocks, int threads,
            std::size_t shared_bytes, Arguments&&... arguments) {
  if (blocks > 0x7FFFFFFF) throw Error(std::string(name) + ": expected work for at most 2147483647 blocks, got more");
  if (shared_bytes > 48 * 1024) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          name);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = static_cast<unsigned>(blocks);
  config.blockDim = static_cast<unsigned>(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = native(stream);
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name);
}

}  // namespace vltr::cuda
