// The device functions that the project's kernels may use, with CUDA's names.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "scheduler.hpp"

namespace vltr::emulator {

template <class To, class From>
To reinterpret(From from) {
  static_assert(sizeof(To) == sizeof(From) && std::is_trivially_copyable_v<From>);
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

// The type that CUDA's overloads choose for an argument: smaller integers become int.
template <class T>
using Register = std::conditional_t<(sizeof(T) < 4), int, T>;

template <class T>
std::uint64_t to_bits(T value) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "a type that CUDA shuffles");
  if constexpr (sizeof(T) == 4) {
    return reinterpret<std::uint32_t>(value);
  } else {
    return reinterpret<std::uint64_t>(value);
  }
}
template <class T>
T from_bits(std::uint64_t bits) {
  if constexpr (sizeof(T) == 4) {
    return reinterpret<T>(static_cast<std::uint32_t>(bits));
  } else {
    return reinterpret<T>(bits);
  }
}

inline unsigned lane() { return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % kWarpLanes; }

template <class T>
Register<T> shuffle(unsigned mask, T value, unsigned source, const Site& site) {
  const auto held = static_cast<Register<T>>(value);
  return from_bits<Register<T>>(meet_warp(Exchange::kShuffle, mask, to_bits(held), source, site));
}

// Sign- or zero-extended, so that 64-bit comparison and addition are right for both.
template <class T>
T reduce(Exchange exchange, unsigned mask, T value, const Site& site) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4, "a type that CUDA reduces");
  return static_cast<T>(meet_warp(exchange, mask, static_cast<std::uint64_t>(value), 0, site));
}

// Applies a function to memory atomically, for operations that CPUs do not have as one instruction.
template <class T, class Function>
T update(T* address, const Function& function) {
  T old;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  for (;;) {
    T desired = function(old);
    if (__atomic_compare_exchange(address, &old, &desired, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return old;
  }
}

// Keeps an argument out of template deduction: the type of the address decides, as with overloads.
template <class T>
struct Same {
  using Type = T;
};
template <class T>
using Value = typename Same<T>::Type;

}  // namespace vltr::emulator

// Barriers

inline void __syncthreads(const vltr::emulator::Site& site = {"__syncthreads"}) {
  vltr::emulator::meet_block(false, site);
}
inline int __syncthreads_count(int predicate, const vltr::emulator::Site& site = {"__syncthreads_count"}) {
  return static_cast<int>(vltr::emulator::meet_block(predicate != 0, site));
}
inline int __syncthreads_or(int predicate, const vltr::emulator::Site& site = {"__syncthreads_or"}) {
  return vltr::emulator::meet_block(predicate != 0, site) != 0;
}
inline int __syncthreads_and(int predicate, const vltr::emulator::Site& site = {"__syncthreads_and"}) {
  return vltr::emulator::meet_block(predicate == 0, site) == 0;
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, const vltr::emulator::Site& site = {"__syncwarp"}) {
  vltr::emulator::meet_warp(vltr::emulator::Exchange::kNothing, mask, 0, 0, site);
}
inline void __threadfence() { vltr::emulator::fence(); }

// Warp votes and matches

inline unsigned __ballot_sync(unsigned mask, int predicate, const vltr::emulator::Site& site = {"__ballot_sync"}) {
  return static_cast<unsigned>(
      vltr::emulator::meet_warp(vltr::emulator::Exchange::kBallot, mask, predicate != 0, 0, site));
}
inline int __any_sync(unsigned mask, int predicate, const vltr::emulator::Site& site = {"__any_sync"}) {
  return vltr::emulator::meet_warp(vltr::emulator::Exchange::kBallot, mask, predicate != 0, 0, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, const vltr::emulator::Site& site = {"__all_sync"}) {
  return vltr::emulator::meet_warp(vltr::emulator::Exchange::kBallot, mask, predicate == 0, 0, site) == 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, const vltr::emulator::Site& site = {"__match_any_sync"}) {
  const auto bits = vltr::emulator::to_bits(static_cast<vltr::emulator::Register<T>>(value));
  return static_cast<unsigned>(vltr::emulator::meet_warp(vltr::emulator::Exchange::kMatch, mask, bits, 0, site));
}

// Shuffles. A warp is divided into segments of `width` lanes. A lane that would read beyond its
// segment keeps its value.

template <class T>
auto __shfl_sync(unsigned mask, T value, int source, int width = 32,
                 const vltr::emulator::Site& site = {"__shfl_sync"}) {
  const unsigned within = static_cast<unsigned>(width) - 1;
  const unsigned lane = vltr::emulator::lane();
  return vltr::emulator::shuffle(mask, value, (lane & ~within) | (static_cast<unsigned>(source) & within), site);
}
template <class T>
auto __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                    const vltr::emulator::Site& site = {"__shfl_up_sync"}) {
  const unsigned within = static_cast<unsigned>(width) - 1;
  const unsigned lane = vltr::emulator::lane();
  return vltr::emulator::shuffle(mask, value, (lane & within) >= delta ? lane - delta : lane, site);
}
template <class T>
auto __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                      const vltr::emulator::Site& site = {"__shfl_down_sync"}) {
  const unsigned within = static_cast<unsigned>(width) - 1;
  const unsigned lane = vltr::emulator::lane();
  const bool inside = delta <= within && (lane & within) + delta <= within;
  return vltr::emulator::shuffle(mask, value, inside ? lane + delta : lane, site);
}
// A lane may also read the segments before its segment.
template <class T>
auto __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                     const vltr::emulator::Site& site = {"__shfl_xor_sync"}) {
  const unsigned lane = vltr::emulator::lane();
  const unsigned other = lane ^ static_cast<unsigned>(lane_mask);
  const unsigned last_of_segment = lane | (static_cast<unsigned>(width) - 1);
  return vltr::emulator::shuffle(mask, value, other <= last_of_segment ? other : lane, site);
}

// Reductions (compute capability 8.0)

template <class T>
T __reduce_add_sync(unsigned mask, T value, const vltr::emulator::Site& site = {"__reduce_add_sync"}) {
  return vltr::emulator::reduce(vltr::emulator::Exchange::kAdd, mask, value, site);
}
template <class T>
T __reduce_min_sync(unsigned mask, T value, const vltr::emulator::Site& site = {"__reduce_min_sync"}) {
  return vltr::emulator::reduce(vltr::emulator::Exchange::kMin, mask, value, site);
}
template <class T>
T __reduce_max_sync(unsigned mask, T value, const vltr::emulator::Site& site = {"__reduce_max_sync"}) {
  return vltr::emulator::reduce(vltr::emulator::Exchange::kMax, mask, value, site);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value,
                                  const vltr::emulator::Site& site = {"__reduce_and_sync"}) {
  return vltr::emulator::reduce(vltr::emulator::Exchange::kAnd, mask, value, site);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value,
                                 const vltr::emulator::Site& site = {"__reduce_or_sync"}) {
  return vltr::emulator::reduce(vltr::emulator::Exchange::kOr, mask, value, site);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value,
                                  const vltr::emulator::Site& site = {"__reduce_xor_sync"}) {
  return vltr::emulator::reduce(vltr::emulator::Exchange::kXor, mask, value, site);
}

// Atomics: relaxed, as CUDA's

template <class T>
T atomicAdd(T* address, vltr::emulator::Value<T> value) {
  if constexpr (std::is_integral_v<T>) {
    static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>);
    return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
  } else {
    return vltr::emulator::update(address, [=](T old) { return old + value; });
  }
}
template <class T>
T atomicMin(T* address, vltr::emulator::Value<T> value) {
  static_assert(std::is_integral_v<T> && sizeof(T) >= 4);
  return vltr::emulator::update(address, [=](T old) { return value < old ? value : old; });
}
template <class T>
T atomicMax(T* address, vltr::emulator::Value<T> value) {
  static_assert(std::is_integral_v<T> && sizeof(T) >= 4);
  return vltr::emulator::update(address, [=](T old) { return value > old ? value : old; });
}
template <class T>
T atomicAnd(T* address, vltr::emulator::Value<T> value) {
  static_assert(std::is_integral_v<T> && sizeof(T) >= 4);
  return __atomic_fetch_and(address, value, __ATOMIC_RELAXED);
}
template <class T>
T atomicOr(T* address, vltr::emulator::Value<T> value) {
  static_assert(std::is_integral_v<T> && sizeof(T) >= 4);
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}
template <class T>
T atomicExch(T* address, vltr::emulator::Value<T> value) {
  T old;
  __atomic_exchange(address, &value, &old, __ATOMIC_RELAXED);
  return old;
}
template <class T>
T atomicCAS(T* address, vltr::emulator::Value<T> expected, vltr::emulator::Value<T> value) {
  static_assert(std::is_integral_v<T> && sizeof(T) >= 4);
  __atomic_compare_exchange(address, &expected, &value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}

// Bits

inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline int __clz(int value) { return value == 0 ? 32 : __builtin_clz(static_cast<unsigned>(value)); }
inline int __clzll(long long value) {
  return value == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(value));
}
inline unsigned __brev(unsigned value) {
  unsigned reversed = 0;
  for (unsigned bit = 0; bit < 32; ++bit) reversed |= (value >> bit & 1u) << (31 - bit);
  return reversed;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<std::uint64_t>(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(static_cast<Wide>(a) * b >> 64);
}
inline int __float_as_int(float value) { return vltr::emulator::reinterpret<int>(value); }
inline unsigned __float_as_uint(float value) { return vltr::emulator::reinterpret<unsigned>(value); }
inline float __int_as_float(int bits) { return vltr::emulator::reinterpret<float>(bits); }
inline float __uint_as_float(unsigned bits) { return vltr::emulator::reinterpret<float>(bits); }
inline long long __double_as_longlong(double value) { return vltr::emulator::reinterpret<long long>(value); }
inline double __longlong_as_double(long long bits) { return vltr::emulator::reinterpret<double>(bits); }

// Numbers: in the global namespace and for mixed types, as in CUDA

template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}
