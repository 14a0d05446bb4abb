// Tiles of the array are sorted in shared memory by (segment, key), so segments do not move. Then the pieces of a
// segment that spans several tiles are merged pairwise: a binary search in the other piece gives the index of each key.
// A segment that fits in a tile spans at most two tiles, so usually one round of merging is enough.
#include "cuda/sort.hpp"

#include "cuda/search.cuh"

namespace vltr::cuda {
namespace {

constexpr int kTile = 1024;
constexpr int kThreads = 512;

template <class Key>
__global__ void __launch_bounds__(kThreads) sort_tiles(Key* keys, const std::uint32_t* segment, std::int64_t count) {
  __shared__ Key key[kTile];
  __shared__ std::uint32_t segment_of_key[kTile];
  const std::int64_t first = blockIdx.x * std::int64_t{kTile};
  const int filled = static_cast<int>(count - first < kTile ? count - first : kTile);
  for (int i = static_cast<int>(threadIdx.x); i < kTile; i += kThreads) {
    key[i] = i < filled ? keys[first + i] : Key{0};
    segment_of_key[i] = i < filled ? segment[first + i] : ~0u;  // beyond all segments
  }
  // Bitonic sort: blocks of `size` become sorted by comparators at distances size/2, size/4, .., 1.
  for (int size = 2; size <= kTile; size *= 2) {
    for (int distance = size / 2; distance > 0; distance /= 2) {
      __syncthreads();
      const int pair = static_cast<int>(threadIdx.x);  // kTile / 2 comparators, one per thread
      const int low = 2 * pair - (pair & (distance - 1));
      const int high = low + distance;
      const bool falling = (low & size) != 0;
      const bool greater = segment_of_key[low] != segment_of_key[high] ? segment_of_key[low] > segment_of_key[high]
                                                                       : key[low] > key[high];
      const bool less = segment_of_key[low] != segment_of_key[high] ? segment_of_key[low] < segment_of_key[high]
                                                                    : key[low] < key[high];
      if (falling ? less : greater) {
        const Key held_key = key[low];
        const std::uint32_t held_segment = segment_of_key[low];
        key[low] = key[high];
        segment_of_key[low] = segment_of_key[high];
        key[high] = held_key;
        segment_of_key[high] = held_segment;
      }
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < filled; i += kThreads) keys[first + i] = key[i];
}
static_assert(kThreads * 2 == kTile, "one thread per comparator");

// Merges neighbouring runs of `width` tiles, counted from the tile in which the segment begins.
template <class Key>
__global__ void __launch_bounds__(kThreads)
    merge_runs(const Key* from, Key* to, const std::uint32_t* segment, const std::int64_t* offset, std::int64_t count,
               std::int64_t width) {
  const std::int64_t at = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (at >= count) return;
  const std::int64_t begin = offset[segment[at]];
  const std::int64_t end = offset[segment[at] + 1];
  const std::int64_t first_tile = begin / kTile;
  const std::int64_t run = (at / kTile - first_tile) / width;
  const std::int64_t pair_tile = first_tile + run / 2 * 2 * width;
  const auto clip = [=](std::int64_t tile) {
    const std::int64_t boundary = tile * kTile;
    return boundary < begin ? begin : boundary > end ? end : boundary;
  };
  const std::int64_t left = clip(pair_tile);
  const std::int64_t middle = clip(pair_tile + width);
  const std::int64_t right = clip(pair_tile + 2 * width);
  const Key key = from[at];
  const bool in_left = at < middle;
  const std::int64_t in_this_run = in_left ? at - left : at - middle;
  const std::int64_t in_other_run = in_left ? keys_before(from + middle, right - middle, key, false)
                                            : keys_before(from + left, middle - left, key, true);
  to[left + in_this_run + in_other_run] = key;
}

}  // namespace

template <class Key>
void sort_within_segments(DeviceArray<Key>& keys, const DeviceArray<std::uint32_t>& segment,
                          const DeviceArray<std::int64_t>& offset, std::int64_t longest) {
  const std::int64_t count = keys.size();
  if (count == 0) return;
  const Stream& stream = keys.stream();
  const auto tiles = blocks_for(count, kTile);
  launch(stream, "sort_tiles", sort_tiles<Key>, tiles, kThreads, 0, keys.data(), segment.data(), count);
  if (tiles == 1) return;
  DeviceArray<Key> merged(stream, count);
  const std::int64_t most_tiles = (longest + kTile - 2) / kTile + 1;  // the most tiles that a segment can span
  for (std::int64_t width = 1; width < most_tiles; width *= 2) {
    launch(stream, "merge_runs", merge_runs<Key>, blocks_for(count, kThreads), kThreads, 0, keys.data(), merged.data(),
           segment.data(), offset.data(), count, width);
    std::swap(keys, merged);
  }
}

#define VLTR_SORT(Key)                                                                          \
  template void sort_within_segments<Key>(DeviceArray<Key>&, const DeviceArray<std::uint32_t>&, \
                                          const DeviceArray<std::int64_t>&, std::int64_t);
VLTR_SORT(std::uint32_t)
VLTR_SORT(float)
VLTR_SORT(double)
VLTR_SORT(std::int64_t)
#undef VLTR_SORT

}  // namespace vltr::cuda
