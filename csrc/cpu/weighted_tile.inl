// The kernel of weighted_tile.hpp for one instruction set. Each rank_scan_*.cpp includes it after rank_scan_tile.inl,
// whose loads and searches it shares.
#pragma once

#include "cpu/rank_scan_tile.inl"
#include "cpu/weighted_tile.hpp"

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// Adds the weights of rows to the sums of their thresholds. kWeightings is 0 for a number known at run time.
template <int kWeightings>
void add_weights(const std::uint32_t* buckets, const float* rows, std::int64_t count, const Wide* weights,
                 std::int64_t weightings, Wide* sums) {
  const std::int64_t width = kWeightings == 0 ? weightings : kWeightings;
  for (std::int64_t i = 0; i < count; ++i) {
    const Wide* const weight = weights + bit_cast<std::uint32_t>(rows[i]) * width;
    Wide* const sum = sums + static_cast<std::int64_t>(buckets[i] / 2) * width;
    for (std::int64_t w = 0; w < width; ++w) sum[w] += weight[w];
  }
}

constexpr std::int64_t kSurvivorBuffer = kTileRows + 16;  // of one class

// Lists the scores of a strip that reach the lowest threshold of their class, and their rows within the tile, as bits.
// Class col + j has survived[j] of them, from element j * kSurvivorBuffer on.
template <class T>
__attribute__((always_inline)) inline void find_survivors(const Tile& tile, std::int64_t col, std::int64_t cols,
                                                          const LaneOf<T>* lowest_of_classes, LaneOf<T>* survivors,
                                                          float* survivor_rows, std::int64_t* survived, FirstNan& nan) {
  using Lane = LaneOf<T>;
  constexpr std::int64_t kBuffer = kSurvivorBuffer;
  constexpr std::int64_t kSize = sizeof(T);
  for (std::int64_t row = tile.first_row; row < tile.first_row + tile.rows; row += 16) {
    const std::int64_t rows = std::min<std::int64_t>(16, tile.first_row + tile.rows - row);
    const std::uint32_t valid = low_bits(rows);
    float numbers[16];
    for (int i = 0; i < 16; ++i) numbers[i] = bit_cast<float>(static_cast<std::uint32_t>(row - tile.first_row) + i);
    const Pack<float> row_numbers = Pack<float>::load(numbers);
    // The block below is a stride away, where no hardware prefetcher looks.
    const std::int64_t next_rows =
        tile.shard->col_stride == kSize ? std::min<std::int64_t>(16, tile.first_row + tile.rows - row - 16) : 0;
    for (std::int64_t block = 0; block < cols; block += 16) {
      const std::int64_t block_cols = std::min<std::int64_t>(16, cols - block);
      for (std::int64_t i = 0; i < next_rows; ++i) {
        const std::byte* const next = tile.shard->at(row + 16 + i, col + block);
        for (std::int64_t byte = 0; byte < 16 * kSize; byte += 64) __builtin_prefetch(next + byte, 0, 2);
      }
      Pack<Lane> packs[16];
      load_block<T>(*tile.shard, row, rows, col + block, block_cols, packs);
      note_nans<Lane>(packs, row, rows, col + block, block_cols, nan);
      transpose(packs);
      const Lane* const lowest = lowest_of_classes + col + block;
      std::int64_t* const ends = survived + block;
#pragma GCC unroll 16
      for (int j = 0; j < 16; ++j) {
        const std::uint32_t mask = packs[j].greater_equal(Pack<Lane>::broadcast(lowest[j])) & valid;
        const std::int64_t end = (block + j) * kBuffer + ends[j];
        row_numbers.compress_store(survivor_rows + end, mask);
        ends[j] += packs[j].compress_store(survivors + end, mask);
      }
    }
  }
}

template <class T>
void weighted_strip(const WeightedPlan<LaneOf<T>>& plan, const Tile& tile, std::int64_t col, std::int64_t cols,
                    WeightedWorker<LaneOf<T>>& worker) {
  using Lane = LaneOf<T>;
  constexpr std::int64_t kBuffer = kSurvivorBuffer;
  const Thresholds<Lane>& thresholds = *plan.thresholds;
  Lane* const survivors = worker.survivors.data();
  float* const survivor_rows = worker.rows.data();
  std::int64_t survived[kStripCols] = {};
  find_survivors<T>(tile, col, cols, plan.lowest, survivors, survivor_rows, survived, worker.nan);

  alignas(64) std::uint32_t buckets[kBuffer];
  const Wide* const weights = plan.weights + tile.first_row * plan.weightings;
  for (std::int64_t j = 0; j < cols; ++j) {
    const std::int64_t c = col + j;
    if (plan.offset->length(c) == 0) continue;
    find_buckets(thresholds.tree.data() + thresholds.tree_offset[c], thresholds.count(c), survivors + j * kBuffer,
                 survived[j], buckets);
    const auto add = plan.weightings == 1   ? add_weights<1>
                     : plan.weightings == 2 ? add_weights<2>
                     : plan.weightings == 3 ? add_weights<3>
                                            : add_weights<0>;
    add(buckets, survivor_rows + j * kBuffer, survived[j], weights, plan.weightings,
        worker.sums.data() + plan.offset->first(c) * plan.weightings);
  }
}

template <class T>
void weighted_tile(const WeightedPlan<LaneOf<T>>& plan, const Tile& tile, std::int64_t first_col, std::int64_t end_col,
                   WeightedWorker<LaneOf<T>>& worker) {
  for (std::int64_t col = first_col; col < end_col; col += kStripCols) {
    weighted_strip<T>(plan, tile, col, std::min<std::int64_t>(kStripCols, end_col - col), worker);
  }
}

#define VLTR_KERNEL(T)                                                                                    \
  template void weighted_tile<T>(const WeightedPlan<LaneOf<T>>&, const Tile&, std::int64_t, std::int64_t, \
                                 WeightedWorker<LaneOf<T>>&);
VLTR_FOR_EACH_ELEMENT(VLTR_KERNEL)
#undef VLTR_KERNEL

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
