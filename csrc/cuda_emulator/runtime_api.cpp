#include "runtime_api.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <vector>

#include "deferred_work.hpp"
#include "fiber.hpp"

struct CUevent_st {
  bool recorded = false;
  vltr::emulator::WorkPtr work;  // all work before the event; null if it was done at once
};
struct CUmemPoolHandle_st {
  int device;
};
struct CUstream_st : vltr::emulator::WorkQueue {};

namespace vltr::emulator {
namespace {

constexpr int kMaxDevices = 8;
constexpr int kMultiprocessors = 4;  // kernels that size their grid by it get more than one block, but few
constexpr std::size_t kSharedLimit = 227 * 1024;
constexpr std::size_t kSharedUnlessRaised = 48 * 1024;
constexpr std::align_val_t kAlignment{256};  // cudaMalloc's
constexpr int kUninitialized = 0xCD;
constexpr int kFreed = 0xDD;

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
  std::map<std::uintptr_t, std::size_t> pinned;  // page-locked host memory
  std::set<cudaStream_t> streams;
  std::set<cudaStream_t> ended;  // streams that were destroyed; no handle is given out twice
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
  bool is_pinned(const void* address) {
    const auto begin = reinterpret_cast<std::uintptr_t>(address);
    const auto after = pinned.upper_bound(begin);
    return after != pinned.begin() && begin < std::prev(after)->first + std::prev(after)->second;
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

bool is_deferring() { return DeferredWork::order() != DeferOrder::kAtOnce; }

// Checks a call that adds work to a stream.
cudaError_t check_stream(cudaStream_t stream) {
  if (!is_device(current_device)) return cudaErrorNoDevice;
  const std::lock_guard<std::mutex> lock(registry().mutex);
  if (registry().exists(stream)) return cudaSuccess;
  // CUDA does not promise an error, and the library ignores errors when it frees memory.
  if (is_deferring() && registry().ended.count(stream) != 0) stop("a stream was used after it was destroyed", stream);
  return cudaErrorInvalidResourceHandle;
}

WorkQueue* new_default_stream(int device, bool is_legacy) {
  auto* const made = new WorkQueue{device, !is_legacy, is_legacy, nullptr};
  DeferredWork::all().add(*made);
  return made;
}

// The work of a stream that exists. The default streams belong to the current device.
WorkQueue& queue_of(cudaStream_t stream) {
  if (stream == cudaStreamPerThread) {
    static thread_local WorkQueue* of_thread[kMaxDevices] = {};
    WorkQueue*& found = of_thread[current_device];
    if (found == nullptr) found = new_default_stream(current_device, false);
    return *found;
  }
  if (stream != nullptr && stream != cudaStreamLegacy) return *stream;
  static std::mutex mutex;
  static WorkQueue* legacy[kMaxDevices] = {};
  const std::lock_guard<std::mutex> lock(mutex);
  WorkQueue*& found = legacy[current_device];
  if (found == nullptr) found = new_default_stream(current_device, true);
  return *found;
}

void issue(cudaStream_t stream, std::function<void()> run) {
  DeferredWork::all().issue(queue_of(stream), std::move(run));
}

bool has_address_sanitizer() { return __asan_poison_memory_region != nullptr; }

// Freed memory that is not given out again for a while, so that late accesses meet it. AddressSanitizer has its own.
class FreedMemory {
 public:
  static FreedMemory& all() {
    static auto* const freed = new FreedMemory;
    return *freed;
  }
  void add(void* address, std::size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    kept_.emplace_back(static_cast<unsigned char*>(address), bytes);
    bytes_ += bytes;
    constexpr std::size_t kMost = std::size_t{64} << 20;
    while (bytes_ > kMost) {
      check(kept_.front());
      bytes_ -= kept_.front().second;
      ::operator delete(kept_.front().first, kAlignment);
      kept_.pop_front();
    }
  }
  void check_all() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const Block& block : kept_) check(block);
  }

 private:
  using Block = std::pair<unsigned char*, std::size_t>;
  static void check(const Block& block) {
    const unsigned char* const begin = block.first;
    const unsigned char* const end = begin + block.second;
    const unsigned char* const changed = std::find_if(begin, end, [](unsigned char byte) { return byte != kFreed; });
    if (changed != end) stop("device memory was written after it was freed", changed);
  }

  std::mutex mutex_;
  std::deque<Block> kept_;
  std::size_t bytes_ = 0;
};

void release_memory(void* address, std::size_t bytes, bool deferred) {
  std::memset(address, kFreed, bytes);
  if (deferred && !has_address_sanitizer()) return FreedMemory::all().add(address, bytes);
  ::operator delete(address, kAlignment);
}

}  // namespace

std::int64_t live_bytes() {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  std::size_t bytes = 0;
  for (const std::size_t used : registry().used) bytes += used;
  return static_cast<std::int64_t>(bytes);
}

std::size_t pending_work() { return DeferredWork::all().pending(); }

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, void (*call)(const void* arguments),
                   std::shared_ptr<const void> arguments) {
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
  const std::size_t shared_bytes = config.dynamicSmemBytes;
  issue(config.stream, [=] { run({grid, block, shared_bytes, call, arguments.get()}); });
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

cudaError_t cudaDeviceSynchronize() {
  if (!is_device(current_device)) return result(cudaErrorNoDevice);
  DeferredWork::all().finish_all();
  FreedMemory::all().check_all();
  const std::lock_guard<std::mutex> lock(registry().mutex);
  const bool failed = !registry().failed.empty();
  registry().failed.clear();
  return result(failed ? cudaErrorLaunchFailure : cudaSuccess);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (flags > cudaStreamNonBlocking) return result(cudaErrorInvalidValue);
  *stream = new CUstream_st{{current_device, flags != cudaStreamNonBlocking, false, nullptr}};
  if (flags != cudaStreamNonBlocking) DeferredWork::all().add(**stream);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  registry().streams.insert(*stream);
  return cudaSuccess;
}

// Work on the stream is still done, as in CUDA.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard<std::mutex> lock(registry().mutex);
  if (registry().streams.erase(stream) == 0) return result(cudaErrorInvalidResourceHandle);
  registry().ended.insert(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return result(error);
  DeferredWork::all().finish_stream(queue_of(stream));
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
  const WorkPtr work = DeferredWork::all().issue(queue_of(stream), nullptr, true);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  if (registry().events.count(event) == 0) return result(cudaErrorInvalidResourceHandle);
  *event = {true, work};
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return result(error);
  WorkPtr work;
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    if (registry().events.count(event) == 0) return result(cudaErrorInvalidResourceHandle);
    // CUDA waits for nothing then, which nobody means.
    if (is_deferring() && !event->recorded) stop("a stream waits for an event that was never recorded", event);
    work = event->work;
  }
  DeferredWork::all().issue(queue_of(stream), nullptr, true, work);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  WorkPtr work;
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    if (registry().events.count(event) == 0) return result(cudaErrorInvalidResourceHandle);
    work = event->work;
  }
  return result(DeferredWork::all().progress(work) ? cudaSuccess : cudaErrorNotReady);
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
  void* memory = nullptr;
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    if (bytes == 0 || registry().pools.count(pool) == 0) return result(cudaErrorInvalidValue);
    std::size_t& used = registry().used[pool->device];
    const std::size_t limit = memory_limit();
    if (used > limit || bytes > limit - used) return result(cudaErrorMemoryAllocation);
    memory = ::operator new(bytes, kAlignment, std::nothrow);
    if (memory == nullptr) return result(cudaErrorMemoryAllocation);
    registry().allocations[reinterpret_cast<std::uintptr_t>(memory)] = {bytes, pool->device};
    used += bytes;
  }
  *address = memory;
  // Before its turn in the stream the memory belongs to nobody. A pool may give memory that waits for another stream,
  // so the turn may come late on an idle stream too.
  const bool poisoned = is_deferring() && has_address_sanitizer();
  if (poisoned) __asan_poison_memory_region(memory, bytes);
  const auto fill = [=] {
    if (poisoned) __asan_unpoison_memory_region(memory, bytes);
    std::memset(memory, kUninitialized, bytes);
  };
  issue(stream, fill);
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* address, cudaStream_t stream) {
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return result(error);
  std::size_t bytes = 0;
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    const auto found = registry().allocations.find(reinterpret_cast<std::uintptr_t>(address));
    if (found == registry().allocations.end()) stop("freed what is not allocated", address);
    bytes = found->second.bytes;
    registry().used[found->second.device] -= bytes;
    registry().allocations.erase(found);
  }
  DeferredWork& work = DeferredWork::all();
  const bool deferred = is_deferring();
  const WorkPtr freed = work.issue(queue_of(stream), [=] { release_memory(address, bytes, deferred); }, true);
  // The next owner may get the memory early, while other streams are late.
  if (deferred && work.choose(true)) work.finish(freed);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** address, std::size_t bytes) {
  *address = ::operator new(bytes, kAlignment, std::nothrow);
  if (*address == nullptr) return result(cudaErrorMemoryAllocation);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  registry().pinned[reinterpret_cast<std::uintptr_t>(*address)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* address) {
  std::size_t bytes = 0;
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    const auto found = registry().pinned.find(reinterpret_cast<std::uintptr_t>(address));
    if (found == registry().pinned.end()) return result(cudaErrorInvalidValue);
    bytes = found->second;
    registry().pinned.erase(found);
  }
  release_memory(address, bytes, is_deferring());
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
  auto* const same = const_cast<void*>(address);
  const auto found = registry().find(address);
  if (found != registry().allocations.end()) {
    *attributes = {cudaMemoryTypeDevice, found->second.device, same, same};
  } else if (registry().is_pinned(address)) {
    *attributes = {cudaMemoryTypeHost, current_device, same, same};
  } else {
    *attributes = {cudaMemoryTypeUnregistered, -1, nullptr, same};
  }
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return result(error);
  bool pageable = kind == cudaMemcpyHostToDevice;
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    if (!registry().fits(to, bytes) || !registry().fits(from, bytes)) return result(cudaErrorInvalidValue);
    pageable = pageable && !registry().is_pinned(from);
  }
  if (pageable && is_deferring()) {
    const auto* const first = static_cast<const std::byte*>(from);
    const auto staged = std::make_shared<std::vector<std::byte>>(first, first + bytes);
    issue(stream, [=] { std::memcpy(to, staged->data(), bytes); });
  } else {
    issue(stream, [=] { std::memcpy(to, from, bytes); });
  }
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* address, int byte, std::size_t bytes, cudaStream_t stream) {
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return result(error);
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    if (!registry().fits(address, bytes)) return result(cudaErrorInvalidValue);
  }
  issue(stream, [=] { std::memset(address, byte, bytes); });
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<std::size_t>(value) > kSharedLimit) return result(cudaErrorInvalidValue);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  registry().shared_limits[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}
