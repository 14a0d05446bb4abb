// nvcc's additions to the language: qualifiers and vector types. threadIdx and the like are in scheduler.hpp.
#pragma once

#include <memory>  // before the macros: it uses the name __noinline__ for an attribute

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ static thread_local  // a block has an OS thread to itself while it runs
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

#define warpSize 32

// Aligned as in CUDA, where one instruction loads a vector and needs the alignment.
#define VLTR_EMULATOR_VECTOR2(Type, T, alignment) \
  struct alignas(alignment) Type {                \
    T x, y;                                       \
  };                                              \
  inline Type make_##Type(T x, T y) { return {x, y}; }
#define VLTR_EMULATOR_VECTOR4(Type, T, alignment) \
  struct alignas(alignment) Type {                \
    T x, y, z, w;                                 \
  };                                              \
  inline Type make_##Type(T x, T y, T z, T w) { return {x, y, z, w}; }
VLTR_EMULATOR_VECTOR2(int2, int, 8)
VLTR_EMULATOR_VECTOR2(uint2, unsigned, 8)
VLTR_EMULATOR_VECTOR2(float2, float, 8)
VLTR_EMULATOR_VECTOR2(double2, double, 16)
VLTR_EMULATOR_VECTOR2(longlong2, long long, 16)
VLTR_EMULATOR_VECTOR2(ulonglong2, unsigned long long, 16)
VLTR_EMULATOR_VECTOR4(uchar4, unsigned char, 4)
VLTR_EMULATOR_VECTOR4(ushort4, unsigned short, 8)
VLTR_EMULATOR_VECTOR4(int4, int, 16)
VLTR_EMULATOR_VECTOR4(uint4, unsigned, 16)
VLTR_EMULATOR_VECTOR4(float4, float, 16)
#undef VLTR_EMULATOR_VECTOR2
#undef VLTR_EMULATOR_VECTOR4
