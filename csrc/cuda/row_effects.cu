// One pass over the scores, each read once: 206 MB for VideoLT's test set. Everything else is small and stays in the L2
// cache: the thresholds (0.2 MB), the effects of their buckets (0.9 MB a metric) and the sums (0.4 MB a group and
// metric).
//
// A block takes a strip of 32 classes and a range of rows, as in the rank scan, with the thresholds of the strip in
// shared memory. A warp takes 32 rows at a time. It reads their scores in the order of the addresses into a tile in
// shared memory. Then each lane takes one row and goes through the classes of the strip, group after group:
//
// - All lanes search the same thresholds at the same time, so that they take the same number of steps and read the
//   effects of one class, mostly from the L1 cache. A lane per class would search lists of different lengths, and a
//   queue as in the rank scan would lose the order of the classes, which makes the sums cheap.
// - A lane has the sums of its row and group in registers. The warp adds them to those in device memory once a group
// and
//   strip: 32 neighbouring words for each metric. The sums are integers, so that the order of these additions changes
//   no bit.
//
// A score below all thresholds of its class has the effect `base` and adds nothing here, because the other effects are
// relative to it. Its sum over the classes of a group is added to each row at the end. Positives are counted as
// negatives first; a second kernel corrects them. An unknown cell has no effect: it takes the base of its class from
// the sum. The lanes of a warp read the same word of unknown bits, or two neighbours.
#include "cuda/row_effects.hpp"

#include <algorithm>

#include "cuda/matrix_view.cuh"
#include "cuda/search.cuh"
#include "cuda/warp.cuh"

namespace vltr::cuda {
namespace {

constexpr int kStrip = kWarp;         // classes of a block
constexpr int kTileRow = kStrip + 1;  // so that the lanes of a warp use different banks in both directions
constexpr int kLoads = 16;            // of a lane, in flight together
constexpr int kKeyBytes = 10 * 1024;  // thresholds of a strip in shared memory; others are searched in device memory
constexpr int kMostWidth = 4;
constexpr int kBlocksPerProcessor = 4;
constexpr int kThreads = 256;  // of the other kernels

// So that a block has at most 48 KB of shared memory.
template <class T>
constexpr int kWarpsOf = sizeof(T) == 8 ? 4 : 8;
template <class T>
constexpr int kThreadsOf = kWarpsOf<T> * kWarp;
template <class Lane>
constexpr int kSharedKeys = kKeyBytes / static_cast<int>(sizeof(Lane));

using Sum = unsigned long long;  // atomicAdd has no signed type of this size; the bits are the same

// One entry of a table, or a part of it, in one load.
struct alignas(16) Two {
  std::int64_t first;
  std::int64_t second;
};

template <class Lane>
struct EffectPlan {
  const Lane* keys;
  const std::int64_t* offset;
  const std::int64_t* group;
  const std::int64_t* negative;
  Sum* sums;  // (groups, metrics, rows)
  unsigned long long* first_nan;
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t strips;
  std::int64_t rows_per_block;
  int metrics;
  int width;
  UnknownView unknown;
  const std::int64_t* base;  // (C, width); null unless cells are unknown

  __device__ Sum& sum_of(std::int64_t row, std::int64_t of_group, int metric) const {
    return sums[(of_group * metrics + metric) * rows + row];
  }
};

// A class of the strip.
template <class Lane>
struct Slot {
  std::int64_t first;  // index in device memory of its first key
  std::int64_t entry;  // index in device memory of the effects of its first bucket
  std::int64_t group;
  Lane lowest;
  unsigned count;  // of its keys
  int first_key;   // index in shared memory of its first key; -1 if its keys do not fit
  int column;      // of the strip
  int ends_group;
};

template <class T>
struct StripMemory {
  LaneOf<T> keys[kSharedKeys<LaneOf<T>>];
  T tile[kWarpsOf<T>][kWarp * kTileRow];  // a row of the tile is a row of the scores
  Slot<LaneOf<T>> slot[kStrip];           // group after group; classes that are not there come last
};

template <class T>
__device__ void load_strip(StripMemory<T>& shared, const EffectPlan<LaneOf<T>>& plan, std::int64_t first_class) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  if (warp == 0) {
    const std::int64_t c = first_class + lane_id();
    const bool there = c < plan.cols;
    const std::int64_t first = there ? plan.offset[c] : 0;
    const std::int64_t count = there ? plan.offset[c + 1] - first : 0;
    const std::int64_t group = there ? plan.group[c] : INT64_MAX;
    // A class that is too large for shared memory takes no room from the others.
    constexpr int kMost = kSharedKeys<LaneOf<T>>;
    const std::int64_t end = inclusive_sum(count <= kMost ? count : 0);
    int place = 0;
#pragma unroll 1
    for (int lane = 0; lane < kWarp; ++lane) {
      const std::int64_t other = __shfl_sync(kWholeWarp, group, lane);
      place += other < group || (other == group && lane < lane_id()) ? 1 : 0;
    }
    Slot<LaneOf<T>>& slot = shared.slot[place];
    slot.first = first;
    slot.entry = 2 * first * plan.width;
    slot.group = group;
    slot.lowest = count != 0 ? plan.keys[first] : LaneOf<T>{0};  // unused if the count is 0
    slot.count = static_cast<unsigned>(count);
    slot.first_key = count <= kMost && end <= kMost ? static_cast<int>(end - count) : -1;
    slot.column = lane_id();
    __syncwarp();
    shared.slot[lane_id()].ends_group =
        lane_id() == kWarp - 1 || shared.slot[lane_id() + 1].group != shared.slot[lane_id()].group ? 1 : 0;
  }
  __syncthreads();
  for (int i = warp; i < kStrip; i += kWarpsOf<T>) {
    const Slot<LaneOf<T>>& slot = shared.slot[i];
    if (slot.first_key < 0) continue;
    for (int k = lane_id(); k < static_cast<int>(slot.count); k += kWarp)
      shared.keys[slot.first_key + k] = plan.keys[slot.first + k];
  }
  __syncthreads();
}

// Reads up to 32 rows of up to 32 classes from `from`. Neighbouring lanes read neighbouring addresses: the classes of a
// row, or the rows of a class. Lanes and steps beyond the last row or class read the last.
template <class T>
__device__ void load_tile(T* tile, const Shard& shard, const std::byte* from, int rows, int classes) {
  const bool by_class = shard.is_class_major();
  const int lanes = by_class ? rows : classes;
  const int steps = by_class ? classes : rows;
  const std::int64_t stride = by_class ? shard.col_stride : shard.row_stride;
  const std::byte* ptr =
      from + (lane_id() < lanes ? lane_id() : lanes - 1) * (by_class ? shard.row_stride : shard.col_stride);
  T* to = tile + lane_id() * (by_class ? kTileRow : 1);
  const int to_stride = by_class ? 1 : kTileRow;
  for (int start = 0; start < steps; start += kLoads) {
    T element[kLoads];
#pragma unroll
    for (int i = 0; i < kLoads; ++i, ptr += start + i < steps ? stride : 0) element[i] = load_element<T>(ptr);
#pragma unroll
    for (int i = 0; i < kLoads; ++i, to += to_stride) *to = element[i];
  }
}

// Adds the effects of a score that reaches the lowest threshold of its class.
template <class T>
__device__ void add_entry(const StripMemory<T>& shared, const EffectPlan<LaneOf<T>>& plan, const Slot<LaneOf<T>>& slot,
                          LaneOf<T> score, std::int64_t (&sum)[kMostWidth]) {
  unsigned at;
  bool equal;
  if (slot.first_key >= 0) {
    const LaneOf<T>* const keys = shared.keys + slot.first_key;
    at = last_reached(keys, slot.count, score);
    equal = keys[at] == score;
  } else {
    const LaneOf<T>* const keys = plan.keys + slot.first;
    at = last_reached(keys, slot.count, score);
    equal = keys[at] == score;
  }
  const auto width = static_cast<unsigned>(plan.width);
  const std::int64_t* const entry = plan.negative + slot.entry + std::uint64_t{at} * (2 * width) + (equal ? 0 : width);
  if (width == 1) {
    sum[0] += entry[0];
    return;
  }
  const Two low = *reinterpret_cast<const Two*>(entry);
  sum[0] += low.first;
  sum[1] += low.second;
  if (width == 2) return;
  const Two high = *reinterpret_cast<const Two*>(entry + 2);
  sum[2] += high.first;
  sum[3] += high.second;
}

template <class T, bool kMasked>
__global__ void __launch_bounds__(kThreadsOf<T>, kBlocksPerProcessor)
    add_effects(Shard shard, const __grid_constant__ EffectPlan<LaneOf<T>> plan) {
  using Lane = LaneOf<T>;
  __shared__ StripMemory<T> shared;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const std::int64_t first_class = blockIdx.x % plan.strips * kStrip;
  load_strip(shared, plan, first_class);
  T* const tile = shared.tile[warp];
  const T* const tile_row = tile + lane_id() * kTileRow;
  const int classes = static_cast<int>(plan.cols - first_class < kStrip ? plan.cols - first_class : kStrip);
  const std::int64_t begin = blockIdx.x / plan.strips * plan.rows_per_block;
  const std::int64_t end = begin + plan.rows_per_block < shard.rows ? begin + plan.rows_per_block : shard.rows;
  for (std::int64_t first = begin + warp * kWarp; first < end; first += kThreadsOf<T>) {
    const int rows = static_cast<int>(end - first < kWarp ? end - first : kWarp);
    __syncwarp();  // the last tile has been read
    load_tile(tile, shard, shard.data + first * shard.row_stride + first_class * shard.col_stride, rows, classes);
    __syncwarp();
    if (lane_id() >= rows) continue;
    const std::int64_t row = shard.first_row + first + lane_id();
    bool has_nan = false;
    std::int64_t sum[kMostWidth] = {};
    for (int i = 0; i < classes; ++i) {
      const Slot<Lane>& slot = shared.slot[i];
      const Lane score = to_lane(tile_row[slot.column]);
      has_nan = has_nan || score != score;
      bool known = true;
      if constexpr (kMasked) {
        const std::int64_t c = first_class + slot.column;
        known = !plan.unknown.has(row, c);
        for (int m = 0; !known && m < plan.metrics; ++m) sum[m] -= plan.base[c * plan.width + m];
      }
      if (known && slot.count != 0 && score >= slot.lowest) add_entry(shared, plan, slot, score, sum);
      if (slot.ends_group == 0) continue;
#pragma unroll
      for (int m = 0; m < kMostWidth; ++m) {
        if (sum[m] != 0) atomicAdd(&plan.sum_of(row, slot.group, m), static_cast<Sum>(sum[m]));
        sum[m] = 0;
      }
    }
    if (!has_nan) continue;
#pragma unroll 1
    for (int j = 0; j < classes; ++j) {
      const Lane score = to_lane(tile_row[j]);
      if (score != score) note_first(plan.first_nan, row, plan.cols, first_class + j);
    }
  }
}

// Adds to the row of each positive its effect, less that of the negative as which it was counted.
template <class T>
__global__ void __launch_bounds__(kThreads)
    correct_positives(MatrixView scores, const std::uint32_t* row, const std::uint32_t* cls, std::int64_t count,
                      const __grid_constant__ EffectPlan<LaneOf<T>> plan, const std::int64_t* positive,
                      unsigned long long* missing_class) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i >= count) return;
  const std::int64_t r = row[i];
  const std::int64_t c = cls[i];
  const std::int64_t first = plan.offset[c];
  const std::int64_t keys_of_class = plan.offset[c + 1] - first;
  const LaneOf<T> score = to_lane(load_element<T>(scores.shard_of(r).at(r, c)));
  const std::int64_t at = keys_before(plan.keys + first, keys_of_class, score, false);
  if (at == keys_of_class || plan.keys[first + at] != score) {
    atomicMin(missing_class, static_cast<unsigned long long>(c));
    return;
  }
  for (int m = 0; m < plan.metrics; ++m) {
    const std::int64_t change =
        positive[(first + at) * plan.width + m] - plan.negative[2 * (first + at) * plan.width + m];
    if (change != 0) atomicAdd(&plan.sum_of(r, plan.group[c], m), static_cast<Sum>(change));
  }
}

// Adds the bases and brings the sums of a row together: from (columns, rows) to (rows, columns).
__global__ void __launch_bounds__(kThreads)
    finish_sums(const Sum* sums, const std::int64_t* base, std::int64_t columns, std::int64_t rows, std::int64_t* out) {
  for (std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x; i < rows * columns;
       i += gridDim.x * std::int64_t{kThreads}) {
    out[i] = static_cast<std::int64_t>(sums[i % columns * rows + i / columns]) + base[i % columns];
  }
}

struct EffectErrors {
  unsigned long long first_nan;
  unsigned long long missing_class;
};

template <class T, bool kMasked>
void add_shards(const Matrix& scores, EffectPlan<LaneOf<T>> plan, const Stream& stream) {
  for (const Shard& shard : scores.shards) {
    if (shard.rows == 0) continue;
    constexpr int kReserved = 1024;  // shared memory that CUDA reserves in each block
    constexpr int kShared = static_cast<int>(sizeof(StripMemory<T>));
    static_assert(kShared <= 48 * 1024, "static shared memory");
    const int by_memory = shared_memory_of_multiprocessor(stream) / (kShared + kReserved);
    const std::int64_t resident = std::int64_t{multiprocessors(stream)} * std::clamp(by_memory, 1, kBlocksPerProcessor);
    const std::int64_t rounds = blocks_for(shard.rows, kThreadsOf<T>);
    const std::int64_t ranges = std::clamp<std::int64_t>(resident / plan.strips, 1, rounds);
    plan.rows_per_block = blocks_for(rounds, ranges) * kThreadsOf<T>;
    launch(stream, "add_effects", add_effects<T, kMasked>, blocks_for(shard.rows, plan.rows_per_block) * plan.strips,
           kThreadsOf<T>, 0, shard, plan);
  }
}

// (groups, metrics)
Array<std::int64_t> sums_of_bases(const EffectTables& tables) {
  Array<std::int64_t> sums(tables.groups * tables.metrics);
  for (std::int64_t c = 0; c < tables.group.count(); ++c) {
    for (std::int64_t m = 0; m < tables.metrics; ++m) {
      sums[tables.group[c] * tables.metrics + m] += tables.base[c * tables.width + m];
    }
  }
  return sums;
}

}  // namespace

Array<std::int64_t> row_effects(const Matrix& scores, const Positives& positives, const UnknownBits* unknown,
                                const EffectTables& tables, const Stream& stream) {
  const std::int64_t columns = tables.groups * tables.metrics;
  if (scores.rows == 0 || columns == 0) return {};
  const DeviceGuard guard(stream.device);
  const DeviceArray<std::int64_t> offset(stream, tables.thresholds->offset);
  const DeviceArray<std::int64_t> group(stream, tables.group);
  const DeviceArray<std::int64_t> negative(stream, tables.negative);
  const DeviceArray<std::int64_t> positive(stream, tables.positive);
  const DeviceArray<std::int64_t> base(stream, sums_of_bases(tables));
  DeviceArray<std::int64_t> class_base;
  if (unknown != nullptr) class_base = DeviceArray<std::int64_t>(stream, tables.base);
  const DeviceArray<Sum> sums(stream, scores.rows * columns);
  const DeviceArray<EffectErrors> errors(stream, 1);
  const DeviceMatrix matrix(scores, stream);
  sums.fill(0);
  errors.fill(0xFF);  // kNoIndex
  with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const DeviceArray<LaneOf<T>> keys(stream, ascending_thresholds<LaneOf<T>>(*tables.thresholds));
    EffectPlan<LaneOf<T>> plan{};
    plan.keys = keys.data();
    plan.offset = offset.data();
    plan.group = group.data();
    plan.negative = negative.data();
    plan.sums = sums.data();
    plan.first_nan = &errors.data()->first_nan;
    plan.rows = scores.rows;
    plan.cols = scores.cols;
    plan.strips = blocks_for(scores.cols, kStrip);
    plan.metrics = static_cast<int>(tables.metrics);
    plan.width = static_cast<int>(tables.width);
    plan.unknown = view_of(unknown);
    plan.base = class_base.data();
    if (unknown == nullptr) {
      add_shards<T, false>(scores, plan, stream);
    } else {
      add_shards<T, true>(scores, plan, stream);
    }
    if (positives.count != 0) {
      launch(stream, "correct_positives", correct_positives<T>, blocks_for(positives.count, kThreads), kThreads, 0,
             matrix.view(), positives.row.data(), positives.cls.data(), positives.count, plan, positive.data(),
             &errors.data()->missing_class);
    }
  });
  const DeviceArray<std::int64_t> out(stream, scores.rows * columns);
  launch(stream, "finish_sums", finish_sums, at_once(stream, blocks_for(out.size(), kThreads)), kThreads, 0,
         sums.data(), base.data(), columns, scores.rows, out.data());
  const EffectErrors found = errors.to_host().front();
  if (found.first_nan != kNoIndex) {
    const auto flat_index = static_cast<std::int64_t>(found.first_nan);
    throw BadValue("scores", flat_index / scores.cols, flat_index % scores.cols);
  }
  if (found.missing_class != kNoIndex) throw MissingThreshold(static_cast<std::int64_t>(found.missing_class));
  return out.to_host();
}

}  // namespace vltr::cuda
