// What every device-neutral header needs: the host/device mark and the limits that the integer types below rely on.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define VLTR_HD __host__ __device__ inline
#else
#define VLTR_HD inline
#endif

namespace vltr {

// Rows are counted and stored in 32 bits (a class bucket can hold every row), so a call takes fewer than 2^32 of them.
constexpr std::int64_t kMaxRows = (std::int64_t{1} << 32) - 1;

}  // namespace vltr
