#include "cuda/weighted_average_precision.hpp"

#include "core/ap_core.hpp"
#include "core/weight_core.hpp"
#include "cuda/find_nan.hpp"
#include "cuda/matrix_view.cuh"
#include "cuda/search.cuh"
#include "cuda/thresholds.hpp"
#include "cuda/warp.cuh"

namespace vltr::cuda {
namespace {

constexpr int kThreads = 256;

struct WeightErrors {
  unsigned long long bad_row;
  unsigned long long first_nan;  // among the scores
};

// The results of reading the weights. The bits of numbers that are not negative are in the order of the numbers.
struct WeightSummary {
  unsigned long long largest;  // bits of the largest weight
  WeightErrors errors;
};

// A 128-bit sum to which many threads add.
struct WideSum {
  unsigned long long low;
  unsigned long long high;

  __device__ void add(Wide value) {
    const auto low_word = static_cast<unsigned long long>(value);
    const unsigned long long before = atomicAdd(&low, low_word);
    const unsigned long long carry = before + low_word < before ? 1 : 0;
    const unsigned long long high_word = static_cast<unsigned long long>(value >> 64) + carry;
    if (high_word != 0) atomicAdd(&high, high_word);
  }
  __device__ Wide value() const { return Wide{high} << 64 | low; }
};

// Converts weights of any type to doubles, and finds the largest and the bad ones.
template <class T>
__global__ void __launch_bounds__(kThreads)
    read_weights(MatrixView from, std::int64_t rows, double* weights, WeightSummary* summary) {
  for (std::int64_t row = blockIdx.x * std::int64_t{kThreads} + threadIdx.x; row < rows;
       row += gridDim.x * std::int64_t{kThreads}) {
    const T element = load_element<T>(from.shard_of(row).at(row, 0));
    double weight;
    if constexpr (std::is_integral_v<T>) {
      weight = static_cast<double>(element);
    } else {
      weight = static_cast<double>(to_lane(element)) + 0.0;  // minus zero is zero
    }
    weights[row] = weight;
    if (weight >= 0.0 && weight - weight == 0.0) {
      atomicMax(&summary->largest, bit_cast<unsigned long long>(weight));
    } else {
      atomicMin(&summary->errors.bad_row, static_cast<unsigned long long>(row));
    }
  }
}

template <class T, bool kMasked>
__global__ void __launch_bounds__(kThreads)
    add_weights(Shard shard, std::int64_t cols, UnknownView unknown, const LaneOf<T>* keys, const std::int64_t* offset,
                const double* weights, const WeightSummary* summary, WideSum* all) {
  const int largest = exponent_of(bit_cast<double>(summary->largest));
  for_each_element(shard, cols, [&](std::int64_t row, std::int64_t col) {
    const std::int64_t first = offset[col];
    const std::int64_t count = offset[col + 1] - first;
    const LaneOf<T> score = to_lane(load_element<T>(shard.at(row, col)));
    if (count == 0 || !(score >= keys[first])) return;
    if constexpr (kMasked) {
      if (unknown.has(row, col)) return;
    }
    all[first + last_reached(keys + first, count, score)].add(scaled_weight(weights[row], largest));
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    add_positive_weights(MatrixView scores, const LaneOf<T>* keys, const std::int64_t* offset, const std::uint32_t* row,
                         const std::uint32_t* cls, std::int64_t count, const double* weights,
                         const WeightSummary* summary, WideSum* positive) {
  const int largest = exponent_of(bit_cast<double>(summary->largest));
  for (std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x; i < count;
       i += gridDim.x * std::int64_t{kThreads}) {
    const std::int64_t r = row[i];
    const std::int64_t first = offset[cls[i]];
    const LaneOf<T> score = to_lane(load_element<T>(scores.shard_of(r).at(r, cls[i])));
    positive[first + last_reached(keys + first, offset[cls[i] + 1] - first, score)].add(
        scaled_weight(weights[r], largest));
  }
}

// One warp per class goes down its thresholds.
__global__ void __launch_bounds__(kWarp)
    average_weights(const std::int64_t* offset, const WideSum* all, const WideSum* positive, double* out) {
  __shared__ double staged[kWarp];
  const std::int64_t first = offset[blockIdx.x];
  const std::int64_t count = offset[blockIdx.x + 1] - first;
  Wide at_least = 0;
  Wide hits = 0;
  double sum = 0.0;
  for (std::int64_t start = 0; start < count; start += kWarp) {
    const std::int64_t k = start + lane_id();
    const std::int64_t at = first + count - 1 - k;
    const Wide weight = k < count ? positive[at].value() : Wide{0};
    const Wide lane_hits = hits + inclusive_sum(weight);
    const Wide lane_at_least = at_least + inclusive_sum(k < count ? all[at].value() : Wide{0});
    const double summand[] = {
        k < count && lane_hits != 0 ? to_double(weight) * (to_double(lane_hits) / to_double(lane_at_least)) : 0.0};
    sum = add_in_order(sum, summand, staged);
    hits = last_lane(lane_hits);
    at_least = last_lane(lane_at_least);
  }
  if (lane_id() == 0) out[blockIdx.x] = hits == 0 ? undefined() : sum / to_double(hits);
}

}  // namespace

Array<double> weighted_average_precision(const Matrix& scores, const Positives& positives, const UnknownBits* unknown,
                                         const Matrix& sample_weight, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  const DeviceArray<WeightSummary> summary(stream, {WeightSummary{0, {kNoIndex, kNoIndex}}});
  const DeviceArray<double> weights(stream, scores.rows);
  const DeviceMatrix weight_matrix(sample_weight, stream);
  with_element_type(sample_weight.dtype, [&](auto tag) {
    launch(stream, "read_weights", read_weights<typename decltype(tag)::type>,
           at_once(stream, blocks_for(scores.rows, kThreads)), kThreads, 0, weight_matrix.view(), scores.rows,
           weights.data(), summary.data());
  });
  const unsigned long long bad_row = summary.to_host().front().errors.bad_row;
  if (bad_row != kNoIndex) throw BadValue("sample_weight", static_cast<std::int64_t>(bad_row), 0);
  throw_if_nan(scores, stream);
  const DeviceArray<double> out(stream, scores.cols);
  with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Lane = LaneOf<T>;
    const Thresholds<Lane> thresholds = make_thresholds(
        gather_scores<Lane>(scores, positives, stream, &summary.data()->errors.first_nan), positives, nullptr, nullptr);
    const DeviceArray<WideSum> all(stream, thresholds.count);
    const DeviceArray<WideSum> positive(stream, thresholds.count);
    all.fill(0);
    positive.fill(0);
    if (positives.count != 0) {
      for (const Shard& shard : scores.shards) {
        if (shard.rows == 0) continue;
        launch(stream, "add_weights", unknown == nullptr ? add_weights<T, false> : add_weights<T, true>,
               at_once(stream, blocks_for(shard.rows * scores.cols, kThreads)), kThreads, 0, shard, scores.cols,
               view_of(unknown), thresholds.keys, thresholds.offset, weights.data(), summary.data(), all.data());
      }
      const DeviceMatrix matrix(scores, stream);
      launch(stream, "add_positive_weights", add_positive_weights<T>,
             at_once(stream, blocks_for(positives.count, kThreads)), kThreads, 0, matrix.view(), thresholds.keys,
             thresholds.offset, positives.row.data(), positives.cls.data(), positives.count, weights.data(),
             summary.data(), positive.data());
    }
    launch(stream, "average_weights", average_weights, scores.cols, kWarp, 0, thresholds.offset, all.data(),
           positive.data(), out.data());
  });
  return out.to_host();
}

}  // namespace vltr::cuda
