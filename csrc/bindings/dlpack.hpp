// The structs of DLPack 1.0 (https://dmlc.github.io/dlpack). Its binary interface is fixed, so no header is needed.
#pragma once

#include <cstdint>

namespace vltr::dlpack {

enum DeviceType : std::int32_t { kCpu = 1, kCuda = 2 };
enum Flag : std::uint64_t { kReadOnly = 1 };
enum TypeCode : std::uint8_t { kInt, kUInt, kFloat, kOpaque, kBFloat, kComplex, kBool };

struct Device {
  std::int32_t type;
  std::int32_t index;
};
struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null is C order
  std::uint64_t byte_offset;
};

// The content of capsules: Managed before version 1.0; ManagedVersioned since then, if the consumer requests it.
struct Managed {
  static constexpr const char* kName = "dltensor";
  static constexpr const char* kUsedName = "used_dltensor";
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};
struct ManagedVersioned {
  static constexpr const char* kName = "dltensor_versioned";
  static constexpr const char* kUsedName = "used_dltensor_versioned";
  std::uint32_t major;
  std::uint32_t minor;
  void* context;
  void (*deleter)(ManagedVersioned*);
  std::uint64_t flags;
  Tensor tensor;
};

}  // namespace vltr::dlpack
