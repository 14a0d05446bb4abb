#include "cuda/thresholds.hpp"

#include <algorithm>

#include "cuda/find_nan.hpp"
#include "cuda/matrix_view.cuh"
#include "cuda/search.cuh"
#include "cuda/sort.hpp"
#include "cuda/warp.cuh"

namespace vltr::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads)
    gather_positives(MatrixView scores, std::int64_t cols, const std::uint32_t* row, const std::uint32_t* cls,
                     std::int64_t count, LaneOf<T>* out, unsigned long long* first_nan) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i >= count) return;
  const std::int64_t r = row[i];
  const LaneOf<T> lane = to_lane(load_element<T>(scores.shard_of(r).at(r, cls[i])));
  const bool is_nan = lane != lane;
  if (is_nan) note_first(first_nan, r, cols, cls[i]);
  out[i] = is_nan ? LaneOf<T>{0} : canonical(lane);  // sorting and searching need ordered values
}

template <class Lane>
__global__ void __launch_bounds__(kThreads)
    find_missing(const Lane* sorted, const std::uint32_t* cls, std::int64_t count, const Lane* keys,
                 const std::int64_t* offset, unsigned long long* missing_class) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i >= count) return;
  const std::int64_t first = offset[cls[i]];
  const std::int64_t keys_of_class = offset[cls[i] + 1] - first;
  const std::int64_t at = keys_before(keys + first, keys_of_class, sorted[i], false);
  if (at == keys_of_class || keys[first + at] != sorted[i]) {
    atomicMin(missing_class, static_cast<unsigned long long>(cls[i]));
  }
}

// A class of many thresholds is divided into parts, because a block goes down slowly: for every 256 thresholds it waits
// for the steps of two searches, one after the other. There are at most as many parts as a block has threads.
constexpr std::int64_t kThresholdsOfPart = 2048;
constexpr std::int64_t kMostBlocks = 0x7FFFFFFF;  // of a launch

// Thresholds begin to end - 1 of a class, in descending order.
struct Part {
  std::int64_t cls;
  int number;
  std::int64_t begin;
  std::int64_t end;

  __device__ Part(const std::int64_t* offset, int parts)
      : cls(blockIdx.x / parts), number(static_cast<int>(blockIdx.x % parts)) {
    const std::int64_t count = offset[cls + 1] - offset[cls];
    begin = count * number / parts;
    end = count * (number + 1) / parts;
  }
};

// Sums the rows that reach a threshold of the part but none before it.
__global__ void __launch_bounds__(kThreads)
    sum_parts(const std::int64_t* offset, int parts, const std::uint32_t* buckets, long long* rows_of_part) {
  __shared__ long long ends[kThreads / kWarp];
  const Part part(offset, parts);
  const std::int64_t end = offset[part.cls + 1];
  long long rows = 0;
  for (std::int64_t i = 2 * (end - part.end) + threadIdx.x; i < 2 * (end - part.begin); i += kThreads) {
    rows += buckets[i];
  }
  long long total = 0;
  block_inclusive_sum<kThreads>(rows, ends, total);
  if (threadIdx.x == 0) rows_of_part[blockIdx.x] = total;
}

// One block goes down the thresholds of a part and sums the rows that reach each. rows_of_part: null with one part.
template <class Lane>
__global__ void __launch_bounds__(kThreads, 4)
    count_down(const Lane* keys, const std::int64_t* offset, int parts, const long long* rows_of_part,
               const Lane* sorted, const std::int64_t* positive_offset, const std::uint32_t* buckets, Lane* thresholds,
               std::int64_t* tp, std::int64_t* fp, std::int64_t* tied) {
  __shared__ long long ends[kThreads / kWarp];
  const Part part(offset, parts);
  const std::int64_t first = offset[part.cls];
  const std::int64_t count = offset[part.cls + 1] - first;
  const Lane* const class_sorted = sorted + positive_offset[part.cls];
  const std::int64_t positives = positive_offset[part.cls + 1] - positive_offset[part.cls];
  long long carry = 0;
  if (rows_of_part != nullptr) {
    const bool is_before = static_cast<int>(threadIdx.x) < part.number;
    const long long rows = is_before ? rows_of_part[part.cls * parts + threadIdx.x] : 0;
    block_inclusive_sum<kThreads>(rows, ends, carry);
  }
  for (std::int64_t start = part.begin; start < part.end; start += kThreads) {
    const std::int64_t k = start + threadIdx.x;  // descending
    const std::int64_t at = first + count - 1 - k;
    const bool inside = k < part.end;
    const long long equal = inside && buckets != nullptr ? buckets[2 * at] : 0;
    const long long reached = inside && buckets != nullptr ? equal + buckets[2 * at + 1] : 0;
    long long total = 0;
    const long long at_least = carry + block_inclusive_sum<kThreads>(reached, ends, total);
    carry += total;
    if (inside) {
      const Lane key = keys[at];
      const std::int64_t below = keys_before(class_sorted, positives, key, false);
      const std::int64_t up_to = keys_before(class_sorted, positives, key, true);
      const std::int64_t to = first + k;
      thresholds[to] = key;
      tp[to] = positives - below;
      fp[to] = buckets != nullptr ? at_least - (positives - below) : 0;
      // The rows that equal a repeated threshold are counted at its first entry.
      tied[to] = buckets != nullptr && equal != 0 ? equal - (up_to - below) : 0;
    }
  }
}

}  // namespace

template <class Lane>
DeviceArray<Lane> gather_scores(const Matrix& scores, const Positives& positives, const Stream& stream,
                                unsigned long long* first_nan) {
  DeviceArray<Lane> found(stream, positives.count);
  if (positives.count == 0) return found;
  const DeviceMatrix matrix(scores, stream);
  with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<LaneOf<T>, Lane>) {
      launch(stream, "gather_positives", gather_positives<T>, blocks_for(positives.count, kThreads), kThreads, 0,
             matrix.view(), scores.cols, positives.row.data(), positives.cls.data(), positives.count, found.data(),
             first_nan);
    } else {
      throw std::logic_error("lane does not belong to the element type");
    }
  });
  return found;
}

template <class Lane>
Thresholds<Lane> make_thresholds(DeviceArray<Lane> scores, const Positives& positives, const RankTable* given,
                                 unsigned long long* missing_class) {
  const Stream stream = scores.stream();
  Thresholds<Lane> thresholds;
  sort_within_segments(scores, positives.cls, positives.offset, positives.longest);
  thresholds.sorted = std::move(scores);
  if (given == nullptr) {
    thresholds.offset = positives.offset.data();
    thresholds.keys = thresholds.sorted.data();
    thresholds.count = positives.count;
    thresholds.longest = positives.longest;
    return thresholds;
  }
  thresholds.given = DeviceArray<Lane>(stream, ascending_thresholds<Lane>(*given));
  thresholds.given_offset = DeviceArray<std::int64_t>(stream, given->offset);
  thresholds.offset = thresholds.given_offset.data();
  thresholds.keys = thresholds.given.data();
  thresholds.count = thresholds.given.size();
  for (std::int64_t c = 0; c < given->offset.lists(); ++c) {
    thresholds.longest = std::max(thresholds.longest, given->offset.length(c));
  }
  if (positives.count != 0) {
    launch(stream, "find_missing", find_missing<Lane>, blocks_for(positives.count, kThreads), kThreads, 0,
           thresholds.sorted.data(), positives.cls.data(), positives.count, thresholds.keys, thresholds.offset,
           missing_class);
  }
  return thresholds;
}

template <class Lane>
DeviceRankTable make_table(const Thresholds<Lane>& thresholds, const Positives& positives, const UnknownBits* unknown,
                           const std::uint32_t* buckets) {
  const Stream& stream = thresholds.sorted.stream();
  DeviceRankTable table;
  table.rows = positives.rows;
  table.classes = positives.classes;
  table.longest = thresholds.longest;
  table.offset = DeviceArray<std::int64_t>(stream, positives.classes + 1);
  copy_within_device(stream, table.offset.data(), thresholds.offset,
                     table.offset.size() * static_cast<std::int64_t>(sizeof(std::int64_t)));
  if (unknown != nullptr) {
    table.unknown = DeviceArray<std::int64_t>(stream, positives.classes);
    copy_within_device(stream, table.unknown.data(), unknown->device_count.data(),
                       table.unknown.size() * static_cast<std::int64_t>(sizeof(std::int64_t)));
  }
  DeviceArray<Lane> descending(stream, thresholds.count);
  table.tp = DeviceArray<std::int64_t>(stream, thresholds.count);
  table.fp = DeviceArray<std::int64_t>(stream, thresholds.count);
  table.tied = DeviceArray<std::int64_t>(stream, thresholds.count);
  if (thresholds.count != 0) {
    const std::int64_t most = std::min<std::int64_t>(kThreads, kMostBlocks / positives.classes);
    const auto parts = static_cast<int>(std::clamp<std::int64_t>(thresholds.longest / kThresholdsOfPart, 1, most));
    DeviceArray<long long> rows_of_part;
    if (parts > 1 && buckets != nullptr) {
      rows_of_part = DeviceArray<long long>(stream, positives.classes * parts);
      launch(stream, "sum_parts", sum_parts, positives.classes * parts, kThreads, 0, thresholds.offset, parts, buckets,
             rows_of_part.data());
    }
    launch(stream, "count_down", count_down<Lane>, positives.classes * parts, kThreads, 0, thresholds.keys,
           thresholds.offset, parts, rows_of_part.data(), thresholds.sorted.data(), positives.offset.data(), buckets,
           descending.data(), table.tp.data(), table.fp.data(), table.tied.data());
  }
  table.thresholds = std::move(descending);
  return table;
}

DeviceRankTable positive_scores(const Matrix& scores, const Positives& positives, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  return with_element_type(scores.dtype, [&](auto tag) {
    using Lane = LaneOf<typename decltype(tag)::type>;
    const DeviceArray<unsigned long long> first_nan(stream, 1);
    first_nan.fill(0xFF);  // kNoIndex
    DeviceArray<Lane> found = gather_scores<Lane>(scores, positives, stream, first_nan.data());
    if (first_nan.to_host().front() != kNoIndex) throw_if_nan(scores, stream);
    return make_table(make_thresholds(std::move(found), positives, nullptr, nullptr), positives, nullptr, nullptr);
  });
}

#define VLTR_LANE(Lane)                                                                                                \
  template DeviceArray<Lane> gather_scores<Lane>(const Matrix&, const Positives&, const Stream&, unsigned long long*); \
  template Thresholds<Lane> make_thresholds<Lane>(DeviceArray<Lane>, const Positives&, const RankTable*,               \
                                                  unsigned long long*);                                                \
  template DeviceRankTable make_table<Lane>(const Thresholds<Lane>&, const Positives&, const UnknownBits*,             \
                                            const std::uint32_t*);
VLTR_LANE(float)
VLTR_LANE(double)
VLTR_LANE(std::int64_t)
#undef VLTR_LANE

}  // namespace vltr::cuda
