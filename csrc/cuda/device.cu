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

Probe look() {
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

// Never at import: a process that forks after CUDA has started leaves its children without it.
const Probe& probe() {
  static const Probe found = look();
  return found;
}

// What is made once for each device, when it is first asked for.
struct Device {
  std::once_flag pool_made;
  cudaMemPool_t pool = nullptr;
  std::once_flag multiprocessors_read;
  int multiprocessors = 0;
  int shared_memory = 0;  // of a multiprocessor
  std::once_flag stream_made;
  cudaStream_t stream = nullptr;
};

Device& device_at(int device) {
  const Probe& found = probe();
  if (found.devices == 0) throw Error("CUDA: " + found.why_none);
  if (device < 0 || device >= found.devices) {
    throw Error("device: expected one of " + std::to_string(found.devices) + ", got cuda:" + std::to_string(device));
  }
  // Never destroyed: the driver may be gone when a process ends, and it gives back what is left.
  static auto* const devices = new std::vector<Device>(static_cast<std::size_t>(found.devices));
  return (*devices)[static_cast<std::size_t>(device)];
}

// A pool of our own, so that no setting of the application's default pool changes, nor changes us. What is freed stays
// mapped up to the threshold, so that small calls do not pay for mapping and others get back what a large one took.
cudaMemPool_t pool_of(int device) {
  Device& own = device_at(device);
  std::call_once(own.pool_made, [&] {
    cudaMemPoolProps properties{};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = device;
    cudaMemPool_t pool = nullptr;
    check(cudaMemPoolCreate(&pool, &properties), "making a memory pool");
    std::uint64_t kept = std::uint64_t{64} << 20;
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept), "setting up a memory pool");
    own.pool = pool;
  });
  return own.pool;
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

Stream library_stream(int device) {
  Device& own = device_at(device);
  std::call_once(own.stream_made, [&] {
    const DeviceGuard guard(device);
    check(cudaStreamCreateWithFlags(&own.stream, cudaStreamNonBlocking), "making a stream");
  });
  return {device, reinterpret_cast<std::uintptr_t>(own.stream)};
}

namespace {

Device& with_attributes(int device) {
  Device& own = device_at(device);
  std::call_once(own.multiprocessors_read, [&] {
    check(cudaDeviceGetAttribute(&own.multiprocessors, cudaDevAttrMultiProcessorCount, device),
          "reading the number of multiprocessors");
    check(cudaDeviceGetAttribute(&own.shared_memory, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device),
          "reading the size of shared memory");
  });
  return own;
}

}  // namespace

// An event is made and recorded where its device is current; it may be waited for and looked at on any.
Event::Event(const Stream& stream) {
  const DeviceGuard guard(stream.device);
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
  event_ = event;
  const cudaError_t status = cudaEventRecord(event, native(stream));
  if (status != cudaSuccess) cudaEventDestroy(event);
  check(status, "recording an event");
}

Event::~Event() { cudaEventDestroy(native(*this)); }  // of what is recorded or waited for, CUDA keeps what it needs

bool Event::done() const {
  const cudaError_t status = cudaEventQuery(native(*this));
  if (status == cudaErrorNotReady) {
    cudaGetLastError();  // no fault, but kept as if it were one
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
  cudaGetLastError();  // forgotten: the device and the process are as they were
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "reading how much memory is free");
  throw OutOfMemory("CUDA out of memory: expected " + with_commas(size) +
                    " bytes on cuda:" + std::to_string(stream.device) + ", got " + with_commas(free) + " free");
}

// Faults are of no consequence here: when a process ends, the driver may be gone, and with it the memory.
Memory::~Memory() {
  if (data_ == nullptr) return;
  int current = stream_.device;
  cudaGetDevice(&current);
  if (current != stream_.device) cudaSetDevice(stream_.device);
  if (cudaFreeAsync(data_, native(stream_)) != cudaSuccess) cudaGetLastError();
  if (current != stream_.device) cudaSetDevice(current);
}

// Of pageable memory CUDA takes a copy before it returns; of pinned memory it does not, so that is waited for.
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
