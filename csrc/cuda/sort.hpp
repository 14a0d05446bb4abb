// Sorting within the segments of a compressed array.
#pragma once

#include "cuda/device.hpp"

namespace vltr::cuda {

// Sorts each segment of `keys` ascending. `segment` is the segment number of each key, ascending over the
// array. A segment begins at offset[segment]; `longest` is the size of the largest. Key: uint32, float, double
// or int64, without NaN.
template <class Key>
void sort_within_segments(DeviceArray<Key>& keys, const DeviceArray<std::uint32_t>& segment,
                          const DeviceArray<std::int64_t>& offset, std::int64_t longest);

}  // namespace vltr::cuda
