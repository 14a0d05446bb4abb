#include <mutex>

#include "cuda/launch.cuh"

namespace vltr::cuda {
namespace {

struct Probe {
  int devices = 0;
  std::string why_none;
};

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

std::string name_of(cudaError_t status) {
  return std::string(cudaGetErrorName(status)) + " (" + cudaGetErrorString(status) + ")";
}

Probe find_devices() {
  Probe probe;
  const cudaError_t status = cudaGetDeviceCount(&probe.devices);
  if (status == cudaSuccess && probe.devices > 0) return probe;
  cudaGetLastError();
  probe.devices = 0;
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    probe.why_none = "no CUDA driver was found";
  } else if (status == cudaErrorInsufficientDriver) {
    probe.why_none =
        "the CUDA driver (" + version(driver) + ") is older than this build needs (" + version(CUDART_VERSION) + ")";
  } else if (status == cudaSuccess || status == cudaErrorNoDevice) {
    probe.why_none = "the CUDA driver shows no device to this process";
  } else {
    probe.why_none = "CUDA did not start: " + name_of(status);
  }
  return probe;
}

// Runs at the first use, never at import: CUDA does not work in a child that is forked after CUDA has started.
const Probe& probe() {
  static const Probe found = find_devices();
  return found;
}

// The state of a device, each part made at its first use.
struct DeviceState {
  std::once_flag pool_made;
  cudaMemPool_t pool = nullptr;
  std::once_flag multiprocessors_read;
  int multiprocessors = 0;
  int shared_memory = 0;  // of a multiprocessor
  std::once_flag stream_made;
  cudaStream_t stream = nullptr;
};

DeviceState& device_at(int device) {
  const Probe& found = probe();
  if (found.devices == 0) throw Error("CUDA: " + found.why_none);
  if (device < 0 || device >= found.devices) {
    throw Error("device: expected one of " + std::to_string(found.devices) + ", got cuda:" + std::to_string(device));
  }
  // Never destroyed: the driver may already be gone when a process ends, and it frees the rest.
  static auto* const devices = new Array<DeviceState>(found.devices);
  return (*devices)[device];
}

// The library's own memory pool, independent of the settings of the application's default pool. Freed memory stays
// mapped up to the threshold: small calls do not pay for mapping, and memory beyond it goes back to other users.
cudaMemPool_t pool_of(int device) {
  DeviceState& state = device_at(device);
  std::call_once(state.pool_made, [&] {
    cudaMemPoolProps properties{};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = device;
    cudaMemPool_t pool = nullptr;
    check(cudaMemPoolCreate(&pool, &properties), "making a memory pool");
    std::uint64_t kept = std::uint64_t{64} << 20;
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept), "setting up a memory pool");
    state.pool = pool;
  });
  return state.pool;
}

// 1234567 -> 1,234,567
std::string with_commas(std::size_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t end = digits.size(); end > 3; end -= 3) digits.insert(end - 3, 1, ',');
  return digits;
}

cudaEvent_t native(const Event& event) { return static_cast<cudaEvent_t>(event.get()); }

void copy(const Stream& stream, void* to, const void* from, std::int64_t bytes, cudaMemcpyKind kind,
          const char* doing) {
  if (bytes == 0) return;
  const DeviceGuard guard(stream.device);
  check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), kind, native(stream)), doing);
}

}  // namespace

void check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw Error(std::string("CUDA: ") + doing + ": " + name_of(status));
}

int device_count() { return probe().devices; }

std::string why_no_device() { return probe().why_none; }

int device_of(const void* address) {
  if (device_count() == 0) throw Error("CUDA: " + why_no_device());
  cudaPointerAttributes attributes{};
  check(cudaPointerGetAttributes(&attributes, address), "looking up an address");
  if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged) {
    throw Error("address: expected device memory, got host memory");
  }
  return attributes.device;
}

void wait_for(const Stream& stream, const Stream& other) {
  if (stream.device == other.device && stream.handle == other.handle) return;
  const Event event(other);
  const DeviceGuard guard(stream.device);
  check(cudaStreamWaitEvent(native(stream), native(event), 0), "waiting for another stream");
}

void synchronize(const Stream& stream) {
  const DeviceGuard guard(stream.device);
  check(cudaStreamSynchronize(native(stream)), "waiting for a stream");
}

void synchronize_device(int device) {
  const DeviceGuard guard(device);
  check(cudaDeviceSynchronize(), "waiting for a device");
}

Stream library_stream(int device) {
  DeviceState& state = device_at(device);
  std::call_once(state.stream_made, [&] {
    const DeviceGuard guard(device);
    check(cudaStreamCreateWithFlags(&state.stream, cudaStreamNonBlocking), "making a stream");
  });
  return {device, reinterpret_cast<std::uintptr_t>(state.stream)};
}

namespace {

DeviceState& with_attributes(int device) {
  DeviceState& state = device_at(device);
  std::call_once(state.multiprocessors_read, [&] {
    check(cudaDeviceGetAttribute(&state.multiprocessors, cudaDevAttrMultiProcessorCount, device),
          "reading the number of multiprocessors");
    check(cudaDeviceGetAttribute(&state.shared_memory, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device),
          "reading the size of shared memory");
  });
  return state;
}

}  // namespace

// CUDA makes and records an event on its own device, which must be current. Any device may wait for it or query it.
Event::Event(const Stream& stream) {
  const DeviceGuard guard(stream.device);
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
  event_ = event;
  const cudaError_t status = cudaEventRecord(event, native(stream));
  if (status != cudaSuccess) cudaEventDestroy(event);
  check(status, "recording an event");
}

Event::~Event() { cudaEventDestroy(native(*this)); }  // CUDA keeps an event that is still recorded or waited for

bool Event::done() const {
  const cudaError_t status = cudaEventQuery(native(*this));
  if (status == cudaErrorNotReady) {
    cudaGetLastError();  // clears it: CUDA keeps "not ready" like an error
    return false;
  }
  check(status, "looking at an event");
  return true;
}

int multiprocessors(const Stream& stream) { return with_attributes(stream.device).multiprocessors; }

int shared_memory_of_multiprocessor(const Stream& stream) { return with_attributes(stream.device).shared_memory; }

DeviceGuard::DeviceGuard(int device) {
  device_at(device);
  int current = 0;
  check(cudaGetDevice(&current), "reading the current device");
  if (current == device) return;
  check(cudaSetDevice(device), "choosing a device");
  previous_ = current;
}

DeviceGuard::~DeviceGuard() {
  if (previous_ >= 0) cudaSetDevice(previous_);
}

Memory::Memory(const Stream& stream, std::int64_t bytes) : stream_(stream), bytes_(bytes) {
  if (bytes == 0) return;
  const DeviceGuard guard(stream.device);
  const auto size = static_cast<std::size_t>(bytes);
  const cudaError_t status = cudaMallocFromPoolAsync(&data_, size, pool_of(stream.device), native(stream));
  if (status != cudaErrorMemoryAllocation) {
    check(status, "allocating memory");
    return;
  }
  cudaGetLastError();  // clears the error: the device and the process still work
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "reading how much memory is free");
  throw OutOfMemory("CUDA out of memory: expected " + with_commas(size) +
                    " bytes on cuda:" + std::to_string(stream.device) + ", got " + with_commas(free) + " free");
}

// Ignores errors: when a process ends, the driver may already be gone, and the memory with it.
Memory::~Memory() {
  if (data_ == nullptr) return;
  int current = stream_.device;
  cudaGetDevice(&current);
  if (current != stream_.device) cudaSetDevice(stream_.device);
  if (cudaFreeAsync(data_, native(stream_)) != cudaSuccess) cudaGetLastError();
  if (current != stream_.device) cudaSetDevice(current);
}

// CUDA copies pageable memory before it returns. It does not copy pinned memory, so this waits for the stream then.
void copy_to_device(const Stream& stream, void* to, const void* from, std::int64_t bytes) {
  copy(stream, to, from, bytes, cudaMemcpyHostToDevice, "copying to the device");
  cudaPointerAttributes attributes{};
  check(cudaPointerGetAttributes(&attributes, from), "looking up an address");
  if (attributes.type != cudaMemoryTypeUnregistered) synchronize(stream);
}

void copy_to_host(const Stream& stream, void* to, const void* from, std::int64_t bytes) {
  copy(stream, to, from, bytes, cudaMemcpyDeviceToHost, "copying from the device");
}

void copy_within_device(const Stream& stream, void* to, const void* from, std::int64_t bytes) {
  copy(stream, to, from, bytes, cudaMemcpyDeviceToDevice, "copying within the device");
}

void fill_bytes(const Stream& stream, void* ptr, int byte, std::int64_t bytes) {
  if (bytes == 0) return;
  const DeviceGuard guard(stream.device);
  check(cudaMemsetAsync(ptr, byte, static_cast<std::size_t>(bytes), native(stream)), "filling memory");
}

}  // namespace vltr::cuda
