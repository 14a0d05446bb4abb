// What the lanes of one warp do together.
#pragma once

#include "core/wide.hpp"
#include "cuda/launch.cuh"

namespace vltr::cuda {

__device__ inline int lane_id() { return static_cast<int>(threadIdx.x) % kWarp; }

// How many lanes before this one have their bit set.
__device__ inline int rank_among(unsigned lanes) { return __popc(lanes & ((1u << lane_id()) - 1)); }

// Sum of the values of this lane and those before it.
template <class T>
__device__ T inclusive_sum(T value) {
  for (int step = 1; step < kWarp; step *= 2) {
    const T before = __shfl_up_sync(kWholeWarp, value, step);
    if (lane_id() >= step) value += before;
  }
  return value;
}
__device__ inline Wide inclusive_sum(Wide value) {
  for (int step = 1; step < kWarp; step *= 2) {
    const auto low = __shfl_up_sync(kWholeWarp, static_cast<unsigned long long>(value), step);
    const auto high = __shfl_up_sync(kWholeWarp, static_cast<unsigned long long>(value >> 64), step);
    if (lane_id() >= step) value += Wide{high} << 64 | low;
  }
  return value;
}

template <class T>
__device__ T last_lane(T value) {
  return __shfl_sync(kWholeWarp, value, kWarp - 1);
}
__device__ inline Wide last_lane(Wide value) {
  const auto low = __shfl_sync(kWholeWarp, static_cast<unsigned long long>(value), kWarp - 1);
  const auto high = __shfl_sync(kWholeWarp, static_cast<unsigned long long>(value >> 64), kWarp - 1);
  return Wide{high} << 64 | low;
}

// summand(0) + .. + summand(count - 1) in this order, and so with the bits of a plain loop: the lanes compute summands
// side by side, then each adds all of them. `staged` is shared memory of this warp; every lane gets the sum.
constexpr int kSummandsPerLane = 4;
constexpr int kStagedSummands = kWarp * kSummandsPerLane;

template <class Summand>
__device__ double ordered_sum(std::int64_t count, const Summand& summand, double* staged) {
  double sum = 0.0;
  for (std::int64_t first = 0; first < count; first += kStagedSummands) {
#pragma unroll 2
    for (int i = lane_id(); i < kStagedSummands; i += kWarp) staged[i] = first + i < count ? summand(first + i) : 0.0;
    __syncwarp();
    const int filled = static_cast<int>(count - first < kStagedSummands ? count - first : kStagedSummands);
#pragma unroll 8
    for (int i = 0; i < filled; ++i) sum += staged[i];
    __syncwarp();
  }
  return sum;
}

}  // namespace vltr::cuda
