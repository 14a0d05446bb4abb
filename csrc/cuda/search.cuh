// Binary searches in the ascending keys of a class.
#pragma once

#include "cuda/launch.cuh"

namespace vltr::cuda {

// The number of keys below `key`, or at most `key` with equal_too.
template <class Key, class Index>
__device__ Index keys_before(const Key* keys, Index count, Key key, bool equal_too) {
  Index before = 0;
  while (count > 0) {
    const Index half = count / 2;
    const Key other = keys[before + half];
    const bool is_before = equal_too ? other <= key : other < key;
    before = is_before ? before + half + 1 : before;
    count = is_before ? count - half - 1 : half;
  }
  return before;
}

__device__ inline unsigned greatest_power_of_two(unsigned up_to) { return 1u << (31 - __clz(static_cast<int>(up_to))); }
__device__ inline std::int64_t greatest_power_of_two(std::int64_t up_to) {
  return std::int64_t{1} << (63 - __clzll(static_cast<long long>(up_to)));
}

// The last key that `key` reaches; `key` must reach keys[0]. After one step the range is a power of two, and each
// further step halves it: a step is a load, a comparison and an addition.
template <class Key, class Index>
__device__ Index last_reached(const Key* keys, Index count, Key key) {
  const Index width = greatest_power_of_two(count);
  Index at = keys[count - width] <= key ? count - width : 0;
  for (Index half = width / 2; half > 0; half /= 2) {
    if (keys[at + half] <= key) at += half;
  }
  return at;
}

// The segment of element `i`: the last segment that begins at or before it. It is not one of the empty segments before.
__device__ inline std::int64_t segment_of(const std::int64_t* offset, std::int64_t segments, std::int64_t i) {
  return last_reached(offset, segments, i);
}

}  // namespace vltr::cuda
