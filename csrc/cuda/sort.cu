// Tiles of the array are sorted in shared memory by (segment, key), so segments do not move. Then the runs of a segment
// that spans several tiles are merged pairwise. A block finds the keys of its tile of the result by binary search,
// copies them to shared memory, and merges them there. A segment that fits in a tile spans at most two tiles, so
// usually one round of merging is enough.
//
// A segment of 5,000,000 float32 keys takes 13 rounds. A round reads and writes each key once (8 bytes). The tiles take
// 30,000 warp instructions each, and a round takes 3,000: together 0.3 ms of an H200 at full issue. This is arithmetic
// (tools/kernel_resources.py has the clocks), not a measurement.
//
// By the same arithmetic a dense class is searched (rank_scan.cu) and not sorted whole, as the CPU does. For 10,000,000
// rows of one class, half of them positives, the search moves 3 to 7 GB through the L2 cache: about 1 ms. With the sort
// of the positives this is 1.3 ms, and a sort of all rows would take 0.6 ms. Neither matters beside AP's sum, whose
// 5,000,000 additions follow each other in one fixed order: 10 ms at four clocks each.
#include "cuda/sort.hpp"

#include "cuda/warp.cuh"

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
  __syncthreads();
  // Bitonic sort: blocks of `size` become sorted by comparators at distances size/2, size/4, .., 1.
  for (int size = 2; size <= kTile; size *= 2) {
    for (int distance = size / 2; distance > 0; distance /= 2) {
      // At a shorter distance a warp compares what its own threads have written.
      if (distance >= kWarp) {
        __syncthreads();
      } else {
        __syncwarp();
      }
      const int pair = static_cast<int>(threadIdx.x);  // kTile / 2 comparators, one per thread
      const int low = 2 * pair - (pair & (distance - 1));
      const bool falling = (low & size) != 0;
      const int before = falling ? low + distance : low;
      const int after = falling ? low : low + distance;
      const Key key_before = key[before];
      const Key key_after = key[after];
      const std::uint32_t segment_before = segment_of_key[before];
      const std::uint32_t segment_after = segment_of_key[after];
      if (segment_before != segment_after ? segment_before > segment_after : key_before > key_after) {
        key[before] = key_after;
        key[after] = key_before;
        segment_of_key[before] = segment_after;
        segment_of_key[after] = segment_before;
      }
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < filled; i += kThreads) keys[first + i] = key[i];
}
static_assert(kThreads * 2 == kTile, "one thread per comparator");

constexpr int kMergeThreads = 128;  // few, so that other blocks work while a block searches
constexpr int kKeysOfThread = kTile / kMergeThreads;

// Two neighbouring runs of one segment: [left, middle) and [middle, right).
struct RunPair {
  std::int64_t left;
  std::int64_t middle;
  std::int64_t right;

  // The runs of segment [begin, end) that share a tile. A run has `width` tiles, a power of two, counted from the tile
  // in which the segment begins.
  __device__ RunPair(std::int64_t tile, std::int64_t begin, std::int64_t end, std::int64_t width) {
    const std::int64_t first_tile = begin / kTile;
    const std::int64_t pair_tile = first_tile + ((tile - first_tile) & -(2 * width));
    const auto clip = [=](std::int64_t boundary) { return boundary < begin ? begin : boundary > end ? end : boundary; };
    left = clip(pair_tile * kTile);
    middle = clip((pair_tile + width) * kTile);
    right = clip((pair_tile + 2 * width) * kTile);
  }
};

// How many of the first `merged` keys of two merged runs come from the left run. Equal keys come from the left first.
template <class Key, class Index>
__device__ Index taken_from_left(const Key* left, Index left_count, const Key* right, Index right_count, Index merged) {
  Index at_least = merged < right_count ? 0 : merged - right_count;
  Index at_most = merged < left_count ? merged : left_count;
  while (at_least < at_most) {
    const Index taken = at_least + (at_most - at_least) / 2;
    const bool is_taken = left[taken] <= right[merged - 1 - taken];
    at_least = is_taken ? taken + 1 : at_least;
    at_most = is_taken ? at_most : taken;
  }
  return at_least;
}

// A part of a tile: its next keys of the left run of one pair, then those of the right run.
struct Piece {
  int begin;  // in the tile
  int middle;
  int end;
  std::int64_t left;  // the first key of each run, in the array
  std::int64_t right;
};

// One end of a piece, before its runs are known in full.
struct PieceEnd {
  std::uint32_t segment;
  int at;             // in the tile
  std::int64_t left;  // the next key of each run, in the array
  std::int64_t right;
};

// Merges neighbouring runs of `width` tiles. A block fills a tile of `to`. The segments of its first and of its last
// key may continue in other tiles. The segments between these two are sorted already.
template <class Key>
__global__ void __launch_bounds__(kMergeThreads)
    merge_runs(const Key* from, Key* to, const std::uint32_t* segment, const std::int64_t* offset, std::int64_t count,
               std::int64_t width) {
  __shared__ Key key[kTile];
  __shared__ Key merged[kMergeThreads][kKeysOfThread + 1];  // the last column is empty and avoids bank conflicts
  constexpr int kEnds = 4;                                  // of the first piece and of the last
  __shared__ PieceEnd ends[kEnds];
  __shared__ Piece pieces[3];
  const std::int64_t first = blockIdx.x * std::int64_t{kTile};
  const int filled = static_cast<int>(count - first < kTile ? count - first : kTile);
  if (threadIdx.x < kWarp) {
    if (lane_id() < kEnds) {
      const bool is_front = lane_id() < 2;
      const bool is_begin = lane_id() % 2 == 0;
      const std::uint32_t s = segment[is_front ? first : first + filled - 1];
      const RunPair pair(blockIdx.x, offset[s], offset[s + 1], width);
      const std::int64_t begin = pair.left < first ? first : pair.left;
      const std::int64_t end = pair.right < first + filled ? pair.right : first + filled;
      const std::int64_t at = is_begin ? begin : end;
      const std::int64_t taken = taken_from_left(from + pair.left, pair.middle - pair.left, from + pair.middle,
                                                 pair.right - pair.middle, at - pair.left);
      ends[lane_id()] = {s, static_cast<int>(at - first), pair.left + taken, pair.middle + (at - pair.left - taken)};
    }
    __syncwarp();
    if (lane_id() == 0) {
      const auto piece = [](const PieceEnd& begin, const PieceEnd& end) {
        return Piece{begin.at, begin.at + static_cast<int>(end.left - begin.left), end.at, begin.left, begin.right};
      };
      pieces[0] = piece(ends[0], ends[1]);
      pieces[2] = ends[0].segment != ends[2].segment ? piece(ends[2], ends[3]) : Piece{filled, filled, filled, 0, 0};
      pieces[1] = {pieces[0].end, pieces[2].begin, pieces[2].begin, first + pieces[0].end, 0};
    }
  }
  __syncthreads();
  for (const Piece piece : pieces) {
#pragma unroll 4
    for (int i = piece.begin + static_cast<int>(threadIdx.x); i < piece.end; i += kMergeThreads) {
      key[i] = from[i < piece.middle ? piece.left + (i - piece.begin) : piece.right + (i - piece.middle)];
    }
  }
  __syncthreads();
  const int own = static_cast<int>(threadIdx.x) * kKeysOfThread;
  const int stop = own + kKeysOfThread < filled ? own + kKeysOfThread : filled;
  int i = own;
  while (i < stop) {
    const Piece piece = pieces[i < pieces[0].end ? 0 : i < pieces[1].end ? 1 : 2];
    const int end = piece.end < stop ? piece.end : stop;
    int left = piece.begin + taken_from_left(key + piece.begin, piece.middle - piece.begin, key + piece.middle,
                                             piece.end - piece.middle, i - piece.begin);
    int right = piece.middle + (i - left);
    for (; i < end; ++i) {
      const bool is_left = right == piece.end || (left < piece.middle && key[left] <= key[right]);
      merged[threadIdx.x][i - own] = key[is_left ? left : right];
      left += is_left ? 1 : 0;
      right += is_left ? 0 : 1;
    }
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kKeysOfThread; ++k) {
    const unsigned at = threadIdx.x + k * kMergeThreads;
    if (at < static_cast<unsigned>(filled)) to[first + at] = merged[at / kKeysOfThread][at % kKeysOfThread];
  }
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
    launch(stream, "merge_runs", merge_runs<Key>, tiles, kMergeThreads, 0, keys.data(), merged.data(), segment.data(),
           offset.data(), count, width);
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
