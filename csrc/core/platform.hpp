// The host/device mark of device-neutral headers, and the largest number of rows.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define VLTR_HD __host__ __device__ inline
#else
#define VLTR_HD inline
#endif

namespace vltr {

// A call takes fewer than 2^32 rows: row numbers and counts have 32 bits, and one bucket can hold every row.
constexpr std::int64_t kMaxRows = (std::int64_t{1} << 32) - 1;

}  // namespace vltr
