// Devices, streams and device memory, for code that does not include CUDA's own headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/span.hpp"

namespace vltr::cuda {

// The device and stream of a call. All its kernels, copies and allocations are ordered on this stream.
struct Stream {
  int device = 0;
  std::uintptr_t handle = 0;  // a cudaStream_t: 1 is the legacy default stream, 2 the per-thread default stream
};

// A CUDA call failed. The message is one sentence with CUDA's name of the error.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The device has less free memory than requested. The process can continue.
struct OutOfMemory : Error {
  using Error::Error;
};

// The number of devices that this process can use; 0 without a driver. Never throws. Queries CUDA once.
int device_count();

// The reason why there is no device, in one sentence; empty if there is one.
std::string why_no_device();

// The device of an address. Throws Error if it is not device memory.
int device_of(const void* address);

// Later work on `stream` waits for all present work on `other`.
void wait_for(const Stream& stream, const Stream& other);

// The library's stream on a device, which is never destroyed. Memory that outlives a call moves there, because the
// caller's stream may be destroyed before, and handle 2 is a different stream on every thread.
Stream library_stream(int device);

// Waits until all work of the stream is done. Throws Error if one of its kernels failed.
void synchronize(const Stream& stream);

// Waits until all work of the device is done, also that of streams that were destroyed.
void synchronize_device(int device);

// A point in the work of a stream: all work before the construction of the event.
class Event {
 public:
  explicit Event(const Stream& stream);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  bool done() const;  // does not wait; throws Error if a kernel failed
  void* get() const { return event_; }

 private:
  void* event_ = nullptr;  // a cudaEvent_t
};

// Makes a device current on this thread until its destructor.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = -1;  // -1 if the device was already current
};

// Device memory, allocated and freed in stream order: work that is on the stream at the destructor may still use it.
class Memory {
 public:
  Memory() = default;
  Memory(const Stream& stream, std::int64_t bytes);  // throws OutOfMemory
  Memory(Memory&& other) noexcept { *this = std::move(other); }
  Memory& operator=(Memory&& other) noexcept {
    std::swap(stream_, other.stream_);
    std::swap(bytes_, other.bytes_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Memory();
  void* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }
  const Stream& stream() const { return stream_; }
  // From now on, uses and frees the memory in the order of another stream. That stream must
  // already wait for the old one.
  void move_to(const Stream& stream) { stream_ = stream; }

 private:
  Stream stream_;
  std::int64_t bytes_ = 0;
  void* data_ = nullptr;
};

// Asynchronous. The host memory of copy_to_device may be reused at once, because CUDA copies pageable memory first. The
// host memory of copy_to_host is filled once the stream has been synchronized.
void copy_to_device(const Stream& stream, void* to, const void* from, std::int64_t bytes);
void copy_to_host(const Stream& stream, void* to, const void* from, std::int64_t bytes);
void copy_within_device(const Stream& stream, void* to, const void* from, std::int64_t bytes);
void fill_bytes(const Stream& stream, void* ptr, int byte, std::int64_t bytes);

// An array of elements in device memory.
template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  DeviceArray(const Stream& stream, std::int64_t count)
      : memory_(stream, count * static_cast<std::int64_t>(sizeof(T))), count_(count) {}
  DeviceArray(const Stream& stream, Span<const T> values) : DeviceArray(stream, values.count()) {
    copy_to_device(stream, data(), values.data(), memory_.bytes());
  }
  DeviceArray(const Stream& stream, const std::vector<T>& values)
      : DeviceArray(stream, Span<const T>(values.data(), static_cast<std::int64_t>(values.size()))) {}
  T* data() const { return static_cast<T*>(memory_.data()); }
  std::int64_t size() const { return count_; }
  const Stream& stream() const { return memory_.stream(); }
  void move_to(const Stream& stream) { memory_.move_to(stream); }
  void fill(int byte) const { fill_bytes(memory_.stream(), memory_.data(), byte, memory_.bytes()); }
  // Waits for the stream.
  Array<T> to_host() const {
    Array<T> values(count_);
    copy_to_host(memory_.stream(), values.data(), memory_.data(), memory_.bytes());
    synchronize(memory_.stream());
    return values;
  }

 private:
  Memory memory_;
  std::int64_t count_ = 0;
};

}  // namespace vltr::cuda
