// Sums over the lanes of a warp and the threads of a block.
#pragma once

#include "core/wide.hpp"
#include "cuda/launch.cuh"

namespace vltr::cuda {

__device__ inline int lane_id() { return static_cast<int>(threadIdx.x) % kWarp; }

// The number of lanes before this one whose bit is set.
__device__ inline int rank_among(unsigned lanes) { return __popc(lanes & ((1u << lane_id()) - 1)); }

// The sum of the values of this lane and the lanes before it.
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

// The same over a block of kThreads threads; `total` becomes the sum of all. `ends` is shared memory of the block.
// Every thread of the block must call it; calls may follow each other directly.
template <int kThreads, class T>
__device__ T block_inclusive_sum(T value, T (&ends)[kThreads / kWarp], T& total) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const T end = inclusive_sum(value);
  __syncthreads();  // the last call's ends have been read
  if (lane_id() == kWarp - 1) ends[warp] = end;
  __syncthreads();
  T before = 0;
  total = 0;
  for (int w = 0; w < kThreads / kWarp; ++w) {
    if (w < warp) before += ends[w];
    total += ends[w];
  }
  return before + end;
}

// Adds the lanes' values to `sum` in their order, with the bits of a plain loop: each lane adds all values and returns
// the sum. Lane l has the values l, l + 32, .. `staged` is shared memory of this warp, kSummands for each lane.
template <int kSummands>
__device__ double add_in_order(double sum, const double (&value)[kSummands], double* staged) {
#pragma unroll
  for (int i = 0; i < kSummands; ++i) staged[i * kWarp + lane_id()] = value[i];
  __syncwarp();
#pragma unroll 8
  for (int i = 0; i < kSummands * kWarp; ++i) sum += staged[i];
  __syncwarp();
  return sum;
}

// summand(0) + .. + summand(count - 1), added in this order. The lanes compute the summands in parallel.
constexpr int kSummandsOfLane = 2;
constexpr int kStagedSummands = kWarp * kSummandsOfLane;

template <class Summand>
__device__ double ordered_sum(std::int64_t count, const Summand& summand, double* staged) {
  double sum = 0.0;
  for (std::int64_t start = 0; start < count; start += kStagedSummands) {
    double value[kSummandsOfLane];
#pragma unroll
    for (int i = 0; i < kSummandsOfLane; ++i) {
      const std::int64_t k = start + i * kWarp + lane_id();
      value[i] = k < count ? summand(k) : 0.0;  // adding 0 changes no bit
    }
    sum = add_in_order(sum, value, staged);
  }
  return sum;
}

}  // namespace vltr::cuda
