// A warp, or a block for classes of many positives, makes one trial of one class. It draws the negatives, reads their
// scores in the matrix, counts them between the thresholds, and computes AP from the counts.
#include "cuda/sampled.hpp"

#include <algorithm>
#include <type_traits>

#include "core/draw_core.hpp"
#include "core/sap_core.hpp"
#include "cuda/matrix_view.cuh"
#include "cuda/search.cuh"
#include "cuda/warp.cuh"

namespace vltr::cuda {
namespace {

constexpr int kThreads = 128;
// The largest number of thresholds of a class whose counts fit into shared memory for each warp of a block.
constexpr std::int64_t kSharedCounts = 1024;
constexpr std::int64_t kScratchBytes = std::int64_t{64} << 20;

// The properties of a class that all its trials share.
struct DrawClass {
  std::uint32_t negatives;
  std::uint32_t draws;  // 0: no more negatives than positives, so every trial takes all of them
  std::uint32_t left_radix;
  std::uint32_t right_radix;
  std::uint32_t not_displaced;  // negatives before row `negatives`; 0 if all cells are known
};

// Writes the displaced negatives of each class (draw_core.hpp), at the offsets of its positives.
__global__ void __launch_bounds__(kThreads)
    prepare_draws(const std::uint32_t* row, const std::int64_t* offset, std::int64_t rows, DrawClass* classes,
                  std::uint32_t* displaced) {
  const std::int64_t first = offset[blockIdx.x];
  const std::int64_t positives = offset[blockIdx.x + 1] - first;
  const std::int64_t negatives = rows - positives;
  const bool draws = positives < negatives;
  if (threadIdx.x == 0) {
    const KeyedPermutation grid = permutation_grid(static_cast<std::uint32_t>(negatives));
    classes[blockIdx.x] = {static_cast<std::uint32_t>(negatives), draws ? static_cast<std::uint32_t>(positives) : 0,
                           grid.left_radix, grid.right_radix, 0};
  }
  if (!draws) return;
  const std::uint32_t* const class_rows = row + first;
  const std::int64_t low = keys_before(class_rows, positives, static_cast<std::uint32_t>(negatives), false);
  for (std::int64_t i = threadIdx.x; i < positives; i += kThreads) {
    const auto high_row = static_cast<std::uint32_t>(negatives + i);
    const std::int64_t before = keys_before(class_rows, positives, high_row, false);
    if (before < positives && class_rows[before] == high_row) continue;
    displaced[first + i - (before - low)] = high_row;
  }
}

// The rows that are no negatives of their class, which are positives or unknown, with cells that are unknown. A list of
// them as above could take more memory than the scores. These are two bits a cell.
struct ExcludedRows {
  UnknownView rows;             // of positives too
  const std::uint32_t* before;  // (words, classes): the excluded rows of the class before those of the word

  __device__ std::uint32_t count_before(std::int64_t row, std::int64_t c) const {
    const std::int64_t at = row / kRowsOfWord * rows.classes + c;
    return before[at] + static_cast<std::uint32_t>(__popc(rows.bits[at] & ((1u << (row % kRowsOfWord)) - 1)));
  }
  // The number of known negatives before the rows of a word.
  __device__ std::uint32_t negatives_before(std::int64_t word, std::int64_t c) const {
    return static_cast<std::uint32_t>(word * kRowsOfWord) - before[word * rows.classes + c];
  }
  // The row of the negative that has `number` negatives in rows before it.
  __device__ std::uint32_t row_after(std::uint32_t number, std::int64_t first_word, std::int64_t c) const {
    std::int64_t word = first_word;  // the last with at most `number` negatives before it
    for (std::int64_t left = rows.words - word; left > 1;) {
      const std::int64_t half = left / 2;
      if (negatives_before(word + half, c) <= number) word += half;
      left -= half;
    }
    std::uint32_t negatives = ~rows.bits[word * rows.classes + c];
    std::uint32_t further = number - negatives_before(word, c);
    std::uint32_t bit = 0;
    for (std::uint32_t half = kRowsOfWord / 2; half > 0; half /= 2) {
      const auto low = static_cast<std::uint32_t>(__popc(negatives & ((1u << half) - 1)));
      if (further < low) continue;
      further -= low;
      negatives >>= half;
      bit += half;
    }
    return static_cast<std::uint32_t>(word * kRowsOfWord) + bit;
  }
};

// row_of_negative() of draw_core.hpp. A row that is no negative is replaced by the displaced negative with as many
// displaced ones before it as excluded rows are before the row.
__device__ std::uint32_t row_of_known_negative(const ExcludedRows& excluded, const DrawClass& draw, std::int64_t c,
                                               std::uint32_t number) {
  if (!excluded.rows.has(number, c)) return number;
  return excluded.row_after(draw.not_displaced + excluded.count_before(number, c), draw.negatives / kRowsOfWord, c);
}

__global__ void __launch_bounds__(kThreads)
    exclude_positives(const std::uint32_t* row, const std::uint32_t* cls, std::int64_t count, std::int64_t classes,
                      std::uint32_t* bits) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i >= count) return;
  atomicOr(&bits[row[i] / kRowsOfWord * classes + cls[i]], 1u << (row[i] % kRowsOfWord));
}

// A block takes 32 classes and all their words. Its warps take equal parts: each counts its part, and then goes down it
// again from the counts of the parts before.
constexpr int kCountThreads = 1024;
__global__ void __launch_bounds__(kCountThreads) count_excluded(UnknownView excluded, std::uint32_t* before) {
  constexpr int kParts = kCountThreads / kWarp;
  __shared__ std::uint32_t rows_of_part[kParts][kWarp];
  const int part = static_cast<int>(threadIdx.x) / kWarp;
  const std::int64_t c = blockIdx.x * std::int64_t{kWarp} + lane_id();
  const bool has_class = c < excluded.classes;
  const std::int64_t begin = has_class ? excluded.words * part / kParts : 0;
  const std::int64_t end = has_class ? excluded.words * (part + 1) / kParts : 0;
  std::uint32_t rows = 0;
#pragma unroll 8
  for (std::int64_t word = begin; word < end; ++word) {
    rows += static_cast<std::uint32_t>(__popc(excluded.bits[word * excluded.classes + c]));
  }
  rows_of_part[part][lane_id()] = rows;
  __syncthreads();
  rows = 0;
  for (int other = 0; other < part; ++other) rows += rows_of_part[other][lane_id()];
#pragma unroll 8
  for (std::int64_t word = begin; word < end; ++word) {
    before[word * excluded.classes + c] = rows;
    rows += static_cast<std::uint32_t>(__popc(excluded.bits[word * excluded.classes + c]));
  }
}

// One thread for each class.
__global__ void __launch_bounds__(kThreads)
    prepare_masked_draws(ExcludedRows excluded, const std::int64_t* offset, ClassRows rows, DrawClass* classes) {
  const std::int64_t c = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (c >= excluded.rows.classes) return;
  const std::int64_t positives = offset[c + 1] - offset[c];
  const std::int64_t negatives = rows[c] - positives;
  const KeyedPermutation grid = permutation_grid(static_cast<std::uint32_t>(negatives));
  const bool draws = positives != 0 && positives < negatives;
  classes[c] = {static_cast<std::uint32_t>(negatives), draws ? static_cast<std::uint32_t>(positives) : 0,
                grid.left_radix, grid.right_radix,
                draws ? static_cast<std::uint32_t>(negatives) - excluded.count_before(negatives, c) : 0};
}

template <class Lane>
struct TrialPlan {
  MatrixView scores;
  const Lane* keys;
  const std::int64_t* key_offset;
  const std::int64_t* tp;
  const std::int64_t* fp;
  const std::uint32_t* row;
  const std::int64_t* offset;
  const std::uint32_t* displaced;
  ExcludedRows excluded;  // instead of row and displaced, with unknown cells
  const DrawClass* draw;
  std::int64_t classes;
  std::int64_t trials;
  std::int64_t first_trial;
  std::uint64_t seed;
  double* out;           // (trials, classes)
  std::int32_t* counts;  // in device memory, for classes that do not fit into shared memory
  std::int64_t counts_of_trial;
};

// A group of `kGroup` threads: a warp, or the block.
template <int kGroup>
__device__ void sync_group() {
  if constexpr (kGroup == kWarp) {
    __syncwarp();
  } else {
    __syncthreads();
  }
}

// Counts the draws of one trial: drawn[k] scores are at or above threshold k (descending) and below threshold k - 1.
template <class T, int kGroup, bool kMasked>
__device__ void count_draws(const TrialPlan<LaneOf<T>>& plan, std::int64_t c, const KeyedPermutation& permutation,
                            const DrawClass& draw, std::int32_t* drawn) {
  using Index =
      std::conditional_t<kGroup == kWarp, int, std::int64_t>;  // 32-bit indices make the search of few keys cheaper
  const std::int64_t first_key = plan.key_offset[c];
  const auto keys = static_cast<Index>(plan.key_offset[c + 1] - first_key);
  const std::uint32_t* const class_rows = plan.row + plan.offset[c];
  const std::uint32_t* const displaced = plan.displaced + plan.offset[c];
  for (std::uint32_t i = threadIdx.x % kGroup; i < draw.draws; i += kGroup) {
    const std::uint32_t number = permute(permutation, i);
    std::int64_t r;
    if constexpr (kMasked) {
      r = row_of_known_negative(plan.excluded, draw, c, number);
    } else {
      r = row_of_negative(class_rows, draw.draws, displaced, number);
    }
    const LaneOf<T> score = to_lane(load_element<T>(plan.scores.shard_of(r).at(r, c)));
    const Index reached = keys_before(plan.keys + first_key, keys, score, true);
    if (reached != 0) atomicAdd(&drawn[keys - reached], 1);
  }
}

// AP of one trial from its counts, by one warp. Every lane returns it.
__device__ double average_trial(const std::int64_t* tp, const std::int32_t* drawn, std::int64_t keys, double* staged) {
  double sum = 0.0;
  std::int64_t fp = 0;
  for (std::int64_t first = 0; first < keys; first += kWarp) {
    const std::int64_t k = first + lane_id();
    const std::int64_t reached = fp + inclusive_sum(k < keys ? std::int64_t{drawn[k]} : std::int64_t{0});
    fp = last_lane(reached);
    const double summand[] = {k < keys ? sampled_summand(static_cast<double>(tp[k]),
                                                         k == 0 ? 0.0 : static_cast<double>(tp[k - 1]),
                                                         static_cast<double>(reached))
                                       : 0.0};
    sum = add_in_order(sum, summand, staged);
  }
  return sum / static_cast<double>(tp[keys - 1]);
}

template <class T, int kGroup, bool kMasked>
__global__ void __launch_bounds__(kThreads, 7) sample(TrialPlan<LaneOf<T>> plan) {
  constexpr int kGroups = kThreads / kGroup;
  constexpr bool kShared = kGroup == kWarp;
  __shared__ std::int32_t counts[kShared ? kGroups : 1][kShared ? kSharedCounts : 1];
  __shared__ KeyedPermutation permutations[kGroups];
  __shared__ double staged[kGroups][kStagedSummands];
  const int group = static_cast<int>(threadIdx.x) / kGroup;
  const std::int64_t at = blockIdx.x * std::int64_t{kGroups} + group;
  if (at >= plan.trials * plan.classes) return;
  const std::int64_t c = at % plan.classes;  // neighbouring groups take the same trial of neighbouring classes
  const std::int64_t trial = at / plan.classes;
  const std::int64_t first_key = plan.key_offset[c];
  const std::int64_t keys = plan.key_offset[c + 1] - first_key;
  if ((keys <= kSharedCounts) != kShared) return;
  const std::int64_t* const tp = plan.tp + first_key;
  const std::int64_t* const fp = plan.fp + first_key;
  double* const out = plan.out + (plan.first_trial + trial) * plan.classes + c;
  const DrawClass draw = plan.draw[c];
  const bool first_warp = threadIdx.x % kGroup < kWarp;
  if (draw.draws == 0) {  // no positives, or all negatives in every trial
    if (!first_warp) return;
    const double sum =
        ordered_sum(keys, [=](std::int64_t k) { return precision_summand(tp, k, Precision{tp, fp}); }, staged[group]);
    if (lane_id() == 0) *out = mean_over_positives(sum, tp, keys);
    return;
  }
  std::int32_t* const drawn = kShared ? counts[group] : plan.counts + trial * plan.counts_of_trial + first_key;
  KeyedPermutation& permutation = permutations[group];
  if (threadIdx.x % kGroup == 0) {
    permutation.size = draw.negatives;
    permutation.left_radix = draw.left_radix;
    permutation.right_radix = draw.right_radix;
    permutation.rounds = draw_rounds(draw.negatives);
  }
  if (threadIdx.x % kGroup < kMostDrawRounds / kKeysOfBlock) {
    set_keys_of_block(permutation, plan.seed, static_cast<std::uint32_t>(c),
                      static_cast<std::uint32_t>(plan.first_trial + trial), threadIdx.x % kGroup);
  }
  for (std::int64_t k = threadIdx.x % kGroup; k < keys; k += kGroup) drawn[k] = 0;
  sync_group<kGroup>();
  count_draws<T, kGroup, kMasked>(plan, c, permutation, draw, drawn);
  sync_group<kGroup>();
  if (!first_warp) return;
  const double value = average_trial(tp, drawn, keys, staged[group]);
  if (lane_id() == 0) *out = value;
}

template <class T, int kGroup>
void launch_trials(const TrialPlan<LaneOf<T>>& plan, const Stream& stream) {
  constexpr int kGroups = kThreads / kGroup;
  const std::int64_t blocks = (plan.trials * plan.classes + kGroups - 1) / kGroups;
  const bool masked = plan.excluded.before != nullptr;
  launch(stream, "sample_trials", masked ? sample<T, kGroup, true> : sample<T, kGroup, false>, blocks, kThreads, 0,
         plan);
}

}  // namespace

template <class T>
DeviceArray<double> sample_trials(const Matrix& scores, const Positives& positives, const UnknownBits* unknown,
                                  const Thresholds<LaneOf<T>>& thresholds, const DeviceRankTable& table,
                                  std::int64_t trials, std::uint64_t seed, const Stream& stream) {
  const DeviceMatrix matrix(scores, stream);
  const DeviceArray<DrawClass> classes(stream, positives.classes);
  DeviceArray<std::uint32_t> displaced;
  DeviceArray<std::uint32_t> excluded;
  DeviceArray<std::uint32_t> excluded_before;
  ExcludedRows excluded_rows{};
  if (unknown == nullptr) {
    displaced = DeviceArray<std::uint32_t>(stream, positives.count);
    launch(stream, "prepare_draws", prepare_draws, positives.classes, kThreads, 0, positives.row.data(),
           positives.offset.data(), positives.rows, classes.data(), displaced.data());
  } else {
    excluded = DeviceArray<std::uint32_t>(stream, unknown->bits.size());
    excluded_before = DeviceArray<std::uint32_t>(stream, unknown->bits.size());
    copy_within_device(stream, excluded.data(), unknown->bits.data(),
                       excluded.size() * static_cast<std::int64_t>(sizeof(std::uint32_t)));
    if (positives.count != 0) {
      launch(stream, "exclude_positives", exclude_positives, blocks_for(positives.count, kThreads), kThreads, 0,
             positives.row.data(), positives.cls.data(), positives.count, positives.classes, excluded.data());
    }
    excluded_rows = {{excluded.data(), positives.classes, unknown->words()}, excluded_before.data()};
    launch(stream, "count_excluded", count_excluded, blocks_for(positives.classes, kWarp), kCountThreads, 0,
           excluded_rows.rows, excluded_before.data());
    launch(stream, "prepare_masked_draws", prepare_masked_draws, blocks_for(positives.classes, kThreads), kThreads, 0,
           excluded_rows, positives.offset.data(), ClassRows{positives.rows, unknown->device_count.data()},
           classes.data());
  }
  DeviceArray<double> out(stream, trials * positives.classes);
  TrialPlan<LaneOf<T>> plan{};
  plan.scores = matrix.view();
  plan.keys = thresholds.keys;
  plan.key_offset = thresholds.offset;
  plan.tp = table.tp.data();
  plan.fp = table.fp.data();
  plan.row = positives.row.data();
  plan.offset = positives.offset.data();
  plan.displaced = displaced.data();
  plan.excluded = excluded_rows;
  plan.draw = classes.data();
  plan.classes = positives.classes;
  plan.seed = seed;
  plan.out = out.data();
  plan.counts_of_trial = thresholds.count;
  // A launch has at most 2^31 - 1 blocks. Only a very large number of trials would exceed that.
  const std::int64_t most = std::max<std::int64_t>(1, (std::int64_t{1} << 30) / positives.classes);
  for (plan.first_trial = 0; plan.first_trial < trials; plan.first_trial += plan.trials) {
    plan.trials = std::min(most, trials - plan.first_trial);
    launch_trials<T, kWarp>(plan, stream);
  }
  if (positives.longest <= kSharedCounts) return out;
  const std::int64_t bytes_of_trial = thresholds.count * static_cast<std::int64_t>(sizeof(std::int32_t));
  const std::int64_t batch = std::clamp<std::int64_t>(kScratchBytes / bytes_of_trial, 1, std::min(trials, most));
  const DeviceArray<std::int32_t> counts(stream, batch * thresholds.count);
  plan.counts = counts.data();
  for (plan.first_trial = 0; plan.first_trial < trials; plan.first_trial += plan.trials) {
    plan.trials = std::min(batch, trials - plan.first_trial);
    launch_trials<T, kThreads>(plan, stream);
  }
  return out;
}

#define VLTR_SAMPLE(T)                                                                                              \
  template DeviceArray<double> sample_trials<T>(const Matrix&, const Positives&, const UnknownBits*,                \
                                                const Thresholds<LaneOf<T>>&, const DeviceRankTable&, std::int64_t, \
                                                std::uint64_t, const Stream&);
VLTR_FOR_EACH_ELEMENT(VLTR_SAMPLE)
#undef VLTR_SAMPLE

}  // namespace vltr::cuda
