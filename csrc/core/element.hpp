// Element types of score and label arrays, and the lane in which each is compared.
//
// A lane holds every value of the element exactly, so comparing lanes is comparing elements in their own precision:
//   float16, bfloat16, float32, bool, 8- and 16-bit integers -> float
//   float64, 32-bit integers                                 -> double
//   64-bit integers                                          -> int64 (the top bit of uint64 is flipped: same order)
#pragma once

#include <cstddef>
#include <cstring>
#include <limits>
#include <type_traits>

#include "core/platform.hpp"

namespace vltr {

enum class DType : int {
  kBool,
  kUInt8,
  kInt8,
  kUInt16,
  kInt16,
  kUInt32,
  kInt32,
  kUInt64,
  kInt64,
  kFloat16,
  kBFloat16,
  kFloat32,
  kFloat64
};

struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

template <class To, class From>
VLTR_HD To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast keeps the size");
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

// Reads an element of borrowed memory. In host memory it may be unaligned (a view into packed records), so it is copied
// out. On a device it is aligned: the bindings check that.
template <class T>
VLTR_HD T load_element(const std::byte* ptr) {
#if defined(__CUDA_ARCH__)
  return *reinterpret_cast<const T*>(ptr);
#else
  T value;
  std::memcpy(&value, ptr, sizeof(T));
  return value;
#endif
}
// Any byte but 0 is true. Loading other bytes than 0 and 1 as bool would be undefined.
template <>
VLTR_HD bool load_element<bool>(const std::byte* ptr) {
  return *ptr != std::byte{0};
}

VLTR_HD float to_lane(Float16 value) {
  const std::uint32_t sign = (value.bits & 0x8000u) << 16;
  const std::uint32_t magnitude = (value.bits & 0x7FFFu) << 13;
  if (magnitude >= 0x0F800000u) return bit_cast<float>(sign | 0x70000000u | magnitude | 0x7F800000u);  // infinity, NaN
  // A float with the bits of the half is 2^112 times too small, also for subnormals. One exact product corrects both.
  return bit_cast<float>(sign | bit_cast<std::uint32_t>(bit_cast<float>(magnitude) * 0x1p112f));
}
VLTR_HD float to_lane(BFloat16 value) { return bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16); }
VLTR_HD float to_lane(float value) { return value; }
VLTR_HD float to_lane(bool value) { return value ? 1.0f : 0.0f; }
VLTR_HD float to_lane(std::uint8_t value) { return static_cast<float>(value); }
VLTR_HD float to_lane(std::int8_t value) { return static_cast<float>(value); }
VLTR_HD float to_lane(std::uint16_t value) { return static_cast<float>(value); }
VLTR_HD float to_lane(std::int16_t value) { return static_cast<float>(value); }
VLTR_HD double to_lane(double value) { return value; }
VLTR_HD double to_lane(std::uint32_t value) { return static_cast<double>(value); }
VLTR_HD double to_lane(std::int32_t value) { return static_cast<double>(value); }
VLTR_HD std::int64_t to_lane(std::int64_t value) { return value; }
VLTR_HD std::int64_t to_lane(std::uint64_t value) { return bit_cast<std::int64_t>(value ^ (std::uint64_t{1} << 63)); }

template <class T>
using LaneOf = decltype(to_lane(T{}));

// The lane of a small number that is an element of every type.
template <class T>
VLTR_HD LaneOf<T> lane_of(int value) {
  if constexpr (std::is_integral_v<T>) {
    return to_lane(static_cast<T>(value));
  } else {
    return static_cast<LaneOf<T>>(value);
  }
}

// The value of a label: 1 or 0, or kBadLabel for any other value. Minus zero is a zero.
constexpr int kBadLabel = -1;
template <class T>
VLTR_HD int label_of(T element) {
  const auto lane = to_lane(element);
  return lane == lane_of<T>(0) ? 0 : lane == lane_of<T>(1) ? 1 : kBadLabel;
}

// A key that no lane reaches: lane >= unreachable() is false. The one exception is the largest int64.
template <class Lane>
VLTR_HD Lane unreachable() {
  return std::numeric_limits<Lane>::has_quiet_NaN ? std::numeric_limits<Lane>::quiet_NaN()
                                                  : std::numeric_limits<Lane>::max();
}

// Calls function(Tag<T>{}) for the element type of a dtype code.
template <class T>
struct Tag {
  using type = T;
};
#if defined(__CUDACC__)
#pragma nv_exec_check_disable  // called with host functions by host code and with device functions by kernels
#endif
template <class Function>
VLTR_HD decltype(auto) with_element_type(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::kBool:
      return function(Tag<bool>{});
    case DType::kUInt8:
      return function(Tag<std::uint8_t>{});
    case DType::kInt8:
      return function(Tag<std::int8_t>{});
    case DType::kUInt16:
      return function(Tag<std::uint16_t>{});
    case DType::kInt16:
      return function(Tag<std::int16_t>{});
    case DType::kUInt32:
      return function(Tag<std::uint32_t>{});
    case DType::kInt32:
      return function(Tag<std::int32_t>{});
    case DType::kUInt64:
      return function(Tag<std::uint64_t>{});
    case DType::kInt64:
      return function(Tag<std::int64_t>{});
    case DType::kFloat16:
      return function(Tag<Float16>{});
    case DType::kBFloat16:
      return function(Tag<BFloat16>{});
    case DType::kFloat32:
      return function(Tag<float>{});
    case DType::kFloat64:
      break;
  }
  return function(Tag<double>{});
}

// The same, for dtype codes of float types.
template <class Function>
decltype(auto) with_float_type(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::kFloat16:
      return function(Tag<Float16>{});
    case DType::kBFloat16:
      return function(Tag<BFloat16>{});
    case DType::kFloat32:
      return function(Tag<float>{});
    default:
      return function(Tag<double>{});
  }
}

// The list for explicit instantiations.
#define VLTR_FOR_EACH_ELEMENT(DO) \
  DO(bool)                        \
  DO(std::uint8_t)                \
  DO(std::int8_t)                 \
  DO(std::uint16_t)               \
  DO(std::int16_t)                \
  DO(std::uint32_t) DO(std::int32_t) DO(std::uint64_t) DO(std::int64_t) DO(Float16) DO(BFloat16) DO(float) DO(double)

}  // namespace vltr
