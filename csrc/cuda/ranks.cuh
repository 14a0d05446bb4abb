// The rank of each row's best label: the number of classes that score higher, or the same with a lower index.
#pragma once

#include <vector>

#include "cuda/matrix_view.cuh"
#include "cuda/positives.hpp"

namespace vltr::cuda {

// Unsigned bits in the order of the lanes.
__device__ inline unsigned long long ordered_bits(float lane) {
  const auto bits = bit_cast<std::uint32_t>(lane);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}
__device__ inline unsigned long long ordered_bits(double lane) {
  const auto bits = bit_cast<unsigned long long>(lane);
  return bits >> 63 != 0 ? ~bits : bits | 1ull << 63;
}
__device__ inline unsigned long long ordered_bits(std::int64_t lane) {
  return bit_cast<unsigned long long>(lane) ^ 1ull << 63;
}

constexpr int kNoClass = 0x7F7F7F7F;  // above every class; four equal bytes, so that a fill can write it

// The arrays of the counting pass. All are null if ranks are not requested.
struct RankPlan {
  const unsigned long long* best_score = nullptr;  // (N) ordered bits
  const int* best_class = nullptr;                 // (N); kNoClass without labels
  int* rank = nullptr;                             // (N)

  __device__ bool requested() const { return rank != nullptr; }
  template <class Lane>
  __device__ bool is_before_best(std::int64_t row, Lane score, std::int64_t col) const {
    const int best = best_class[row];
    if (best == kNoClass) return false;
    const unsigned long long bits = ordered_bits(canonical(score));
    return bits > best_score[row] || (bits == best_score[row] && col < best);
  }
  __device__ void add(std::int64_t row, int before) const {
    if (before != 0) atomicAdd(&rank[row], before);
  }
};

constexpr int kRankThreads = 256;

template <class Lane>
__global__ void __launch_bounds__(kRankThreads) raise_best_scores(const Lane* scores, const std::uint32_t* row,
                                                                  std::int64_t count, unsigned long long* best_score) {
  const std::int64_t i = blockIdx.x * std::int64_t{kRankThreads} + threadIdx.x;
  if (i < count) atomicMax(&best_score[row[i]], ordered_bits(scores[i]));
}

template <class Lane>
__global__ void __launch_bounds__(kRankThreads)
    lower_best_classes(const Lane* scores, const std::uint32_t* row, const std::uint32_t* cls, std::int64_t count,
                       const unsigned long long* best_score, int* best_class) {
  const std::int64_t i = blockIdx.x * std::int64_t{kRankThreads} + threadIdx.x;
  if (i < count && ordered_bits(scores[i]) == best_score[row[i]]) {
    atomicMin(&best_class[row[i]], static_cast<int>(cls[i]));
  }
}

// The ranks of one rank scan.
class Ranks {
 public:
  Ranks() = default;
  // Finds the best label of each row, from the scores of the positives in the order of positives.row.
  template <class Lane>
  Ranks(const DeviceArray<Lane>& scores, const Positives& positives)
      : best_score_(scores.stream(), positives.rows),
        best_class_(scores.stream(), positives.rows),
        rank_(scores.stream(), positives.rows) {
    best_score_.fill(0);
    best_class_.fill(kNoClass & 0xFF);
    rank_.fill(0);
    if (positives.count == 0) return;
    const std::int64_t blocks = blocks_for(positives.count, kRankThreads);
    launch(scores.stream(), "raise_best_scores", raise_best_scores<Lane>, blocks, kRankThreads, 0, scores.data(),
           positives.row.data(), positives.count, best_score_.data());
    launch(scores.stream(), "lower_best_classes", lower_best_classes<Lane>, blocks, kRankThreads, 0, scores.data(),
           positives.row.data(), positives.cls.data(), positives.count, best_score_.data(), best_class_.data());
  }
  RankPlan plan() const { return {best_score_.data(), best_class_.data(), rank_.data()}; }
  // (N), after the counting pass; -1 for rows without labels. Waits for the stream.
  Array<std::int32_t> to_host() const {
    Array<std::int32_t> ranks = rank_.to_host();
    const Array<int> best_class = best_class_.to_host();
    for (std::int64_t row = 0; row < ranks.count(); ++row) {
      if (best_class[row] == kNoClass) ranks[row] = -1;
    }
    return ranks;
  }

 private:
  DeviceArray<unsigned long long> best_score_;
  DeviceArray<int> best_class_;
  DeviceArray<int> rank_;
};

}  // namespace vltr::cuda
