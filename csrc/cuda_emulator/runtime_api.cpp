#include "runtime_api.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <set>

struct CUevent_st {};
struct CUmemPoolHandle_st {
  int device;
};
struct CUstream_st {
  int device;
};

namespace vltr::emulator {
namespace {

constexpr int kMaxDevices = 8;
constexpr int kMultiprocessors = 4;  // kernels that size their grid by it get more than one block, but few
constexpr std::size_t kSharedLimit = 227 * 1024;
constexpr std::size_t kSharedUnlessRaised = 48 * 1024;
constexpr std::align_val_t kAlignment{256};  // cudaMalloc's

thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;

cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

[[noreturn]] void stop(const char* fault, const void* address) {
  std::fprintf(stderr, "CUDA emulator: %s: %p\n", fault, address);
  std::fflush(stderr);
  std::abort();
}

bool fault_is(const char* name) {
  const char* fault = std::getenv("VLTR_EMULATOR_FAULT");
  return fault != nullptr && std::strcmp(fault, name) == 0;
}

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

std::size_t memory_limit() { return setting("VLTR_EMULATOR_MEMORY", std::uint64_t{8} << 30); }

int devices() { return static_cast<int>(setting("VLTR_EMULATOR_DEVICES", 1)); }
bool is_device(int device) { return device >= 0 && device < devices(); }

struct Allocation {
  std::size_t bytes;
  int device;
};

// The allocations and streams of the devices. Never destroyed: memory may be freed while the process ends.
struct Registry {
  std::mutex mutex;
  std::map<std::uintptr_t, Allocation> allocations;
  std::size_t used[kMaxDevices] = {};
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  std::set<cudaMemPool_t> pools;
  std::map<const void*, std::size_t> shared_limits;  // of kernels with a raised limit
  std::set<cudaStream_t> failed;                     // streams on which a launch has failed

  // The allocation that contains an address, or the end.
  std::map<std::uintptr_t, Allocation>::iterator find(const void* address) {
    const auto begin = reinterpret_cast<std::uintptr_t>(address);
    auto after = allocations.upper_bound(begin);
    if (after == allocations.begin()) return allocations.end();
    --after;
    return begin < after->first + after->second.bytes ? after : allocations.end();
  }
  // False if a range begins in an allocation and ends beyond it.
  bool fits(const void* address, std::size_t bytes) {
    const auto found = find(address);
    return found == allocations.end() ||
           reinterpret_cast<std::uintptr_t>(address) + bytes <= found->first + found->second.bytes;
  }
  // Created streams belong to a device, default streams to the current device.
  bool exists(cudaStream_t stream) {
    return stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread ||
           streams.count(stream) != 0;
  }
};

Registry& registry() {
  static auto* const all = new Registry;
  return *all;
}

// Checks a call that adds work to a stream.
cudaError_t check_stream(cudaStream_t stream) {
  if (!is_device(current_device)) return cudaErrorNoDevice;
  const std::lock_guard<std::mutex> lock(registry().mutex);
  return registry().exists(stream) ? cudaSuccess : cudaErrorInvalidResourceHandle;
}

}  // namespace

std::int64_t live_bytes() {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  std::size_t bytes = 0;
  for (const std::size_t used : registry().used) bytes += used;
  return static_cast<std::int64_t>(bytes);
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, void (*call)(const void* arguments),
                   const void* arguments) {
  const dim3& grid = config.gridDim;
  const dim3& block = config.blockDim;
  if (const cudaError_t error = check_stream(config.stream); error != cudaSuccess) return result(error);
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || block.x == 0 || block.y == 0 || block.z == 0) {
    return result(cudaErrorInvalidConfiguration);
  }
  if (grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535) return result(cudaErrorInvalidConfiguration);
  if (block.x > 1024 || block.y > 1024 || block.z > 64 || block.x * block.y * block.z > 1024) {
    return result(cudaErrorInvalidConfiguration);
  }
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    const auto raised = registry().shared_limits.find(kernel);
    if (config.dynamicSmemBytes > (raised == registry().shared_limits.end() ? kSharedUnlessRaised : raised->second)) {
      return result(cudaErrorInvalidValue);
    }
    if (fault_is("launch")) {
      registry().failed.insert(config.stream);
      return cudaSuccess;
    }
  }
  run({grid, block, config.dynamicSmemBytes, call, arguments});
  return cudaSuccess;
}

}  // namespace vltr::emulator

using namespace vltr::emulator;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
  }
  return "unrecognized error code";
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaDriverGetVersion(int* version) {
  *version = fault_is("no-device") ? 0 : fault_is("old-driver") ? 12040 : CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (fault_is("no-device") || devices() == 0) return result(cudaErrorNoDevice);
  if (fault_is("old-driver")) return result(cudaErrorInsufficientDriver);
  *count = devices() < kMaxDevices ? devices() : kMaxDevices;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (!is_device(device)) return result(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (!is_device(device)) return result(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = kMultiprocessors;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 8;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(kSharedLimit);
      return cudaSuccess;
  }
  return result(cudaErrorInvalidValue);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (flags > cudaStreamNonBlocking) return result(cudaErrorInvalidValue);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  *stream = new CUstream_st{current_device};
  registry().streams.insert(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  if (registry().streams.erase(stream) == 0) return result(cudaErrorInvalidResourceHandle);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return result(error);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  return result(registry().failed.erase(stream) != 0 ? cudaErrorLaunchFailure : cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  *event = new CUevent_st;
  registry().events.insert(*event);
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return result(error);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  return result(registry().events.count(event) != 0 ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return cudaEventRecord(event, stream);  // the same checks; there is nothing to wait for
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  return result(registry().events.count(event) != 0 ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  if (registry().events.erase(event) == 0) return result(cudaErrorInvalidResourceHandle);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  if (properties->allocType != cudaMemAllocationTypePinned || properties->location.type != cudaMemLocationTypeDevice ||
      !is_device(properties->location.id)) {
    return result(cudaErrorInvalidValue);
  }
  const std::lock_guard<std::mutex> lock(registry().mutex);
  *pool = new CUmemPoolHandle_st{properties->location.id};
  registry().pools.insert(*pool);
  return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr, void*) {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  return result(registry().pools.count(pool) != 0 ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMallocFromPoolAsync(void** address, std::size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return result(error);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  if (bytes == 0 || registry().pools.count(pool) == 0) return result(cudaErrorInvalidValue);
  std::size_t& used = registry().used[pool->device];
  const std::size_t limit = memory_limit();
  if (used > limit || bytes > limit - used) return result(cudaErrorMemoryAllocation);
  *address = ::operator new(bytes, kAlignment, std::nothrow);
  if (*address == nullptr) return result(cudaErrorMemoryAllocation);
  constexpr int kUninitialized = 0xCD;
  std::memset(*address, kUninitialized, bytes);
  registry().allocations[reinterpret_cast<std::uintptr_t>(*address)] = {bytes, pool->device};
  used += bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* address, cudaStream_t stream) {
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return result(error);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  const auto found = registry().allocations.find(reinterpret_cast<std::uintptr_t>(address));
  if (found == registry().allocations.end()) stop("freed what is not allocated", address);
  constexpr int kFreed = 0xDD;
  std::memset(address, kFreed, found->second.bytes);
  registry().used[found->second.device] -= found->second.bytes;
  registry().allocations.erase(found);
  ::operator delete(address, kAlignment);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  if (!is_device(current_device)) return result(cudaErrorNoDevice);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  *total = memory_limit();
  const std::size_t used = registry().used[current_device];
  *free = used < *total ? *total - used : 0;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  const auto found = registry().find(address);
  const int device = found == registry().allocations.end() ? 0 : found->second.device;
  auto* same = const_cast<void*>(address);
  *attributes = {address == nullptr ? cudaMemoryTypeUnregistered : cudaMemoryTypeDevice, device, same, same};
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return result(error);
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    if (!registry().fits(to, bytes) || !registry().fits(from, bytes)) return result(cudaErrorInvalidValue);
  }
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* address, int byte, std::size_t bytes, cudaStream_t stream) {
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return result(error);
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    if (!registry().fits(address, bytes)) return result(cudaErrorInvalidValue);
  }
  std::memset(address, byte, bytes);
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<std::size_t>(value) > kSharedLimit) return result(cudaErrorInvalidValue);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  registry().shared_limits[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}
