// The streaming count. A block takes a strip of 32 classes and a range of rows; its thresholds and buckets are in
// shared memory. Each lane of a warp compares 8 scores at a time with the lowest threshold of their class. The
// survivors (a quarter of the scores of a good model) go to a queue of the warp. Whenever the queue has 32 entries,
// each lane searches and counts one of them, so that no lane idles during a search.
//
// With unknown cells a lane also reads their bits, a word for the 8 scores of a round: 1/32 of the bytes of float32
// scores from device memory, because the words that a block reads again for the next rows are in the L1 cache.
#include "cuda/rank_scan.hpp"

#include <algorithm>

#include "cuda/find_nan.hpp"
#include "cuda/matrix_view.cuh"
#include "cuda/ranks.cuh"
#include "cuda/sampled.hpp"
#include "cuda/search.cuh"
#include "cuda/thresholds.hpp"
#include "cuda/warp.cuh"

namespace vltr::cuda {
namespace {

constexpr int kStrip = kWarp;  // classes of a block
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kUnroll = 8;                     // scores of a lane in a round, all loads in flight together
constexpr int kQueue = kWarp * (kUnroll + 1);  // fewer than kWarp entries, plus those of one round
constexpr int kSharedKeys =
    2560;  // thresholds of a strip in shared memory; other classes are searched in device memory
constexpr int kBlocksPerProcessor = 4;

template <class Lane>
struct CountPlan {
  const Lane* keys;
  const std::int64_t* offset;
  std::uint32_t* buckets;
  unsigned long long* first_nan;
  std::int64_t cols;
  std::int64_t strips;
  std::int64_t rows_per_block;
  RankPlan ranks;
  UnknownView unknown;
};

// Dynamic shared memory of a block.
template <class Lane>
struct SharedMemory {
  Lane keys[kSharedKeys];
  Lane queue_score[kWarps][kQueue];
  std::uint32_t buckets[2 * kSharedKeys];
  std::uint8_t queue_class[kWarps][kQueue];
  Lane lowest[kStrip];
  std::int64_t first[kStrip];  // index of the class's first key in device memory
  std::int64_t count[kStrip];
  int first_key[kStrip];  // index of its first key in `keys`; -1 if its keys do not fit
};

// Copies the thresholds of the strip to shared memory, as far as they fit, and clears their buckets.
template <class Lane>
__device__ void load_strip(SharedMemory<Lane>& shared, const CountPlan<Lane>& plan, std::int64_t first_class) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  if (warp == 0) {
    const std::int64_t c = first_class + lane_id();
    const std::int64_t first = c < plan.cols ? plan.offset[c] : 0;
    const std::int64_t count = c < plan.cols ? plan.offset[c + 1] - first : 0;
    // A class that is too large for shared memory takes no room from the others.
    const std::int64_t end = inclusive_sum(count <= kSharedKeys ? count : 0);
    shared.first[lane_id()] = first;
    shared.count[lane_id()] = count;
    shared.first_key[lane_id()] = count <= kSharedKeys && end <= kSharedKeys ? static_cast<int>(end - count) : -1;
    shared.lowest[lane_id()] = count != 0 ? plan.keys[first] : Lane{0};  // unused if the count is 0
  }
  __syncthreads();
  for (int j = warp; j < kStrip; j += kWarps) {
    if (shared.first_key[j] < 0) continue;
    const int count = static_cast<int>(shared.count[j]);
    for (int k = lane_id(); k < count; k += kWarp)
      shared.keys[shared.first_key[j] + k] = plan.keys[shared.first[j] + k];
    for (int k = lane_id(); k < 2 * count; k += kWarp) shared.buckets[2 * shared.first_key[j] + k] = 0;
  }
  __syncthreads();
}

// Adds the block's buckets to those in device memory.
template <class Lane>
__device__ void flush_strip(const SharedMemory<Lane>& shared, const CountPlan<Lane>& plan) {
  __syncthreads();
  for (int j = static_cast<int>(threadIdx.x) / kWarp; j < kStrip; j += kWarps) {
    if (shared.first_key[j] < 0) continue;
    const int count = static_cast<int>(shared.count[j]);
    for (int k = lane_id(); k < 2 * count; k += kWarp) {
      const std::uint32_t rows = shared.buckets[2 * shared.first_key[j] + k];
      if (rows != 0) atomicAdd(&plan.buckets[2 * shared.first[j] + k], rows);
    }
  }
}

// The survivors of one warp.
template <class Lane>
class SurvivorQueue {
 public:
  __device__ SurvivorQueue(SharedMemory<Lane>& shared, const CountPlan<Lane>& plan)
      : shared_(shared), plan_(plan), warp_(static_cast<int>(threadIdx.x) / kWarp) {}

  // Called by the whole warp. Bit i of `survivors` is set if score[i] of this lane survives; it belongs to class
  // class_of(i) of the strip.
  template <class ClassOf>
  __device__ void push(unsigned survivors, const Lane (&score)[kUnroll], const ClassOf& class_of) {
    const int pushed = __popc(survivors);
    const int end = inclusive_sum(pushed);
    int entry = size_ + end - pushed;
#pragma unroll
    for (int i = 0; i < kUnroll; ++i) {
      if ((survivors >> i & 1) == 0) continue;
      shared_.queue_score[warp_][entry] = score[i];
      shared_.queue_class[warp_][entry] = static_cast<std::uint8_t>(class_of(i));
      ++entry;
    }
    size_ += last_lane(end);
    __syncwarp();
    while (size_ >= kWarp) {
      size_ -= kWarp;
      count(size_ + lane_id());
    }
    __syncwarp();
  }
  __device__ void finish() {
    if (lane_id() < size_) count(lane_id());
  }

 private:
  __device__ void count(int entry) {
    const Lane score = shared_.queue_score[warp_][entry];
    const int j = shared_.queue_class[warp_][entry];
    if (shared_.first_key[j] >= 0) {
      const Lane* const keys = shared_.keys + shared_.first_key[j];
      const unsigned at = last_reached(keys, static_cast<unsigned>(shared_.count[j]), score);
      atomicAdd(&shared_.buckets[2 * (static_cast<unsigned>(shared_.first_key[j]) + at) + (keys[at] == score ? 0 : 1)],
                1u);
    } else {
      const Lane* const keys = plan_.keys + shared_.first[j];
      const std::int64_t at = last_reached(keys, shared_.count[j], score);
      atomicAdd(&plan_.buckets[2 * (shared_.first[j] + at) + (keys[at] == score ? 0 : 1)], 1u);
    }
  }

  SharedMemory<Lane>& shared_;
  const CountPlan<Lane>& plan_;
  const int warp_;
  int size_ = 0;
};

// Records the NaNs among a round of scores. score[i] is cell (row_of(i), col_of(i)) of the matrix if bit i of `there`
// is set; other scores are outside the matrix.
template <class Lane, class RowOf, class ColOf>
__device__ void note_nans(const CountPlan<Lane>& plan, const Lane (&score)[kUnroll], unsigned there,
                          const RowOf& row_of, const ColOf& col_of) {
  bool any = false;
#pragma unroll
  for (int i = 0; i < kUnroll; ++i) any = any || score[i] != score[i];
  if (!any) return;
#pragma unroll
  for (int i = 0; i < kUnroll; ++i) {
    if ((there >> i & 1) != 0 && score[i] != score[i]) note_first(plan.first_nan, row_of(i), plan.cols, col_of(i));
  }
}

// Row-major scores: the lanes of a warp take the classes of the strip and go down the rows together. Lanes beyond the
// last class read the last class, iterations beyond the last row read the last row, and both count nothing.
template <class T, bool kMasked>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    count_by_row(Shard shard, const __grid_constant__ CountPlan<LaneOf<T>> plan) {
  using Lane = LaneOf<T>;
  VLTR_DYNAMIC_SHARED(SharedMemory<Lane>, shared);
  const std::int64_t first_class = blockIdx.x % plan.strips * kStrip;
  load_strip(*shared, plan, first_class);
  SurvivorQueue<Lane> queue(*shared, plan);
  const bool has_class = first_class + lane_id() < plan.cols;
  const std::int64_t col = has_class ? first_class + lane_id() : plan.cols - 1;
  const bool counts = shared->count[lane_id()] != 0;
  const Lane lowest = shared->lowest[lane_id()];
  const std::int64_t begin = blockIdx.x / plan.strips * plan.rows_per_block;
  const std::int64_t end = begin + plan.rows_per_block < shard.rows ? begin + plan.rows_per_block : shard.rows;
  for (std::int64_t first = begin + static_cast<int>(threadIdx.x) / kWarp * kUnroll; first < end;
       first += kWarps * kUnroll) {
    const std::byte* ptr = shard.data + first * shard.row_stride + col * shard.col_stride;
    T element[kUnroll];
    const int rows = end - first < kUnroll ? static_cast<int>(end - first) : kUnroll;
    if (rows == kUnroll) {
#pragma unroll
      for (int i = 0; i < kUnroll; ++i, ptr += shard.row_stride) element[i] = load_element<T>(ptr);
    } else {
#pragma unroll
      for (int i = 0; i < kUnroll; ++i, ptr += i < rows ? shard.row_stride : 0) element[i] = load_element<T>(ptr);
    }
    Lane score[kUnroll];
    unsigned survivors = 0;
#pragma unroll
    for (int i = 0; i < kUnroll; ++i) {
      score[i] = to_lane(element[i]);
      survivors |= score[i] >= lowest ? 1u << i : 0u;
    }
    const unsigned there = (1u << rows) - 1;
    const auto row_of = [=](int i) { return shard.first_row + first + i; };
    unsigned known = there;
    if constexpr (kMasked) known &= ~plan.unknown.template next_rows<kUnroll>(row_of(0), col);
    note_nans(plan, score, there, row_of, [=](int) { return col; });
    queue.push(counts ? survivors & known : 0, score, [](int) { return lane_id(); });
    if (plan.ranks.requested()) {
#pragma unroll
      for (int i = 0; i < kUnroll; ++i) {
        if (i >= rows) break;
        bool is_before = has_class && plan.ranks.is_before_best(row_of(i), score[i], col);
        if constexpr (kMasked) is_before = is_before && (known >> i & 1) != 0;
        const unsigned before = __ballot_sync(kWholeWarp, is_before);
        if (lane_id() == 0) plan.ranks.add(row_of(i), __popc(before));
      }
    }
  }
  queue.finish();
  flush_strip(*shared, plan);
}

// Class-major scores: the lanes of a warp take 32 rows and go through the classes of the strip together. Lanes beyond
// the last row read the last row, iterations beyond the last class read the last class, and both count nothing.
template <class T, bool kMasked>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    count_by_class(Shard shard, const __grid_constant__ CountPlan<LaneOf<T>> plan) {
  using Lane = LaneOf<T>;
  VLTR_DYNAMIC_SHARED(SharedMemory<Lane>, shared);
  const std::int64_t first_class = blockIdx.x % plan.strips * kStrip;
  load_strip(*shared, plan, first_class);
  SurvivorQueue<Lane> queue(*shared, plan);
  const int strip_classes = static_cast<int>(plan.cols - first_class < kStrip ? plan.cols - first_class : kStrip);
  const std::int64_t begin = blockIdx.x / plan.strips * plan.rows_per_block;
  const std::int64_t end = begin + plan.rows_per_block < shard.rows ? begin + plan.rows_per_block : shard.rows;
  for (std::int64_t first = begin + static_cast<int>(threadIdx.x) / kWarp * kWarp; first < end; first += kThreads) {
    const bool has_row = first + lane_id() < end;
    const std::int64_t row = has_row ? first + lane_id() : end - 1;
    int before = 0;
    for (int start = 0; start < strip_classes; start += kUnroll) {
      const std::byte* ptr = shard.data + row * shard.row_stride + (first_class + start) * shard.col_stride;
      const int classes = strip_classes - start < kUnroll ? strip_classes - start : kUnroll;
      T element[kUnroll];
#pragma unroll
      for (int i = 0; i < kUnroll; ++i, ptr += i < classes ? shard.col_stride : 0) {
        element[i] = load_element<T>(ptr);
      }
      Lane score[kUnroll];
      unsigned survivors = 0;
#pragma unroll
      for (int i = 0; i < kUnroll; ++i) {
        score[i] = to_lane(element[i]);
        if (i >= classes) continue;
        survivors |= shared->count[start + i] != 0 && score[i] >= shared->lowest[start + i] ? 1u << i : 0u;
      }
      const unsigned there = has_row ? (1u << classes) - 1 : 0;
      const auto col_of = [=](int i) { return first_class + start + i; };
      unsigned known = there;
      if constexpr (kMasked) {
#pragma unroll
        for (int i = 0; i < kUnroll; ++i) {
          if (i < classes && plan.unknown.has(shard.first_row + row, col_of(i))) known &= ~(1u << i);
        }
      }
      note_nans(plan, score, there, [=](int) { return shard.first_row + row; }, col_of);
      queue.push(survivors & known, score, [=](int i) { return start + i; });
      if (plan.ranks.requested()) {
#pragma unroll
        for (int i = 0; i < kUnroll; ++i) {
          if ((known >> i & 1) != 0 && plan.ranks.is_before_best(shard.first_row + row, score[i], col_of(i))) ++before;
        }
      }
    }
    if (plan.ranks.requested() && has_row) plan.ranks.add(shard.first_row + row, before);
  }
  queue.finish();
  flush_strip(*shared, plan);
}

template <class T, bool kMasked>
void count_scores(const Matrix& scores, CountPlan<LaneOf<T>> plan, const Stream& stream) {
  for (const Shard& shard : scores.shards) {
    if (shard.rows == 0) continue;
    // As many blocks as run at once, if each gets at least one round. A round is the rows of class-major scores that a
    // block reads at a time; row-major scores take several steps for it.
    constexpr std::int64_t kRound = kThreads;
    plan.strips = (scores.cols + kStrip - 1) / kStrip;
    constexpr int kShared = static_cast<int>(sizeof(SharedMemory<LaneOf<T>>));
    constexpr int kReserved = 1024;  // shared memory that CUDA reserves in each block
    const int by_memory = shared_memory_of_multiprocessor(stream) / (kShared + kReserved);
    const std::int64_t resident =
        std::int64_t{multiprocessors(stream)} * std::max(1, std::min(kBlocksPerProcessor, by_memory));
    const std::int64_t rounds = (shard.rows + kRound - 1) / kRound;
    const std::int64_t ranges = std::clamp<std::int64_t>(resident / plan.strips, 1, rounds);
    plan.rows_per_block = (rounds + ranges - 1) / ranges * kRound;
    const std::int64_t blocks = (shard.rows + plan.rows_per_block - 1) / plan.rows_per_block * plan.strips;
    const bool by_class = shard.is_class_major();
    launch(stream, "count_scores", by_class ? count_by_class<T, kMasked> : count_by_row<T, kMasked>, blocks, kThreads,
           kShared, shard, plan);
  }
}

// The errors in the inputs of a rank scan.
struct ScanErrors {
  unsigned long long first_nan;
  unsigned long long missing_class;
};

template <class T>
RankScanResult rank_scan_as(const Matrix& scores, const Positives& positives, const UnknownBits* unknown,
                            const RankScanRequest& request, const Stream& stream) {
  using Lane = LaneOf<T>;
  const DeviceArray<ScanErrors> errors(stream, 1);
  errors.fill(0xFF);  // kNoIndex
  CountPlan<Lane> plan{};
  plan.first_nan = &errors.data()->first_nan;
  plan.cols = scores.cols;
  DeviceArray<Lane> found = gather_scores<Lane>(scores, positives, stream, plan.first_nan);
  Ranks ranks;
  if (request.ranks) ranks = Ranks(found, positives);
  const Thresholds<Lane> thresholds =
      make_thresholds(std::move(found), positives, request.given, &errors.data()->missing_class);
  const DeviceArray<std::uint32_t> buckets(stream, 2 * thresholds.count);
  buckets.fill(0);
  plan.keys = thresholds.keys;
  plan.offset = thresholds.offset;
  plan.buckets = buckets.data();
  plan.ranks = ranks.plan();
  plan.unknown = view_of(unknown);
  if (unknown == nullptr) {
    count_scores<T, false>(scores, plan, stream);
  } else {
    count_scores<T, true>(scores, plan, stream);
  }

  RankScanResult result;
  result.table = make_table(thresholds, positives, unknown, buckets.data());
  DeviceArray<double> trials;
  if (request.trials > 0) {
    trials =
        sample_trials<T>(scores, positives, unknown, thresholds, result.table, request.trials, request.seed, stream);
  }
  const ScanErrors found_errors = errors.to_host().front();
  if (found_errors.first_nan != kNoIndex) {
    const auto flat_index = static_cast<std::int64_t>(found_errors.first_nan);
    throw BadValue("scores", flat_index / scores.cols, flat_index % scores.cols);
  }
  if (found_errors.missing_class != kNoIndex)
    throw MissingThreshold(static_cast<std::int64_t>(found_errors.missing_class));
  result.table.move_to(library_stream(stream.device));  // the caller's stream may be destroyed before the table is used
  if (request.trials > 0) result.trials = trials.to_host();
  if (request.ranks) result.ranks = ranks.to_host();
  return result;
}

}  // namespace

RankScanResult rank_scan(const Matrix& scores, const Positives& positives, const UnknownBits* unknown,
                         const RankScanRequest& request, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  return with_element_type(scores.dtype, [&](auto tag) {
    return rank_scan_as<typename decltype(tag)::type>(scores, positives, unknown, request, stream);
  });
}

}  // namespace vltr::cuda
