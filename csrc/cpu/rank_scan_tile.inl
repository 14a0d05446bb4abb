// The kernels of rank_scan_tile.hpp for one instruction set.
//
// Each rank_scan_*.cpp includes the pack of its instruction set (VLTR_ISA, VLTR_TARGET) and then this file. Opened
// alone, for example by an editor, it has the generic pack.
#pragma once

#include <algorithm>
#include <limits>
#include <type_traits>

#include "cpu/rank_scan_tile.hpp"

#if !defined(VLTR_ISA)
#include "cpu/pack_generic.inl"
#endif

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// The bucket (tree_core.hpp) of a score that reaches the lowest threshold.
template <int kLevels, class Lane>
std::uint32_t find_bucket(const Lane* tree, std::int64_t keys, Lane score) {
  std::int64_t nodes[kLevels];
  nodes[kLevels - 1] = nodes_for(keys);
  for (int i = kLevels - 1; i > 0; --i) nodes[i - 1] = nodes_for(nodes[i]);
  std::int64_t reached = 1;
  for (int i = 0; i < kLevels; ++i) {
    if (i > 0) tree += nodes[i - 1] * kNodeKeys;
    const std::int64_t node = reached - 1;
    reached = node * kNodeKeys + keys_reached(tree + node * kNodeKeys, score);
    // Only an int64 score can reach the padding: it equals the largest int64.
    const std::int64_t width = i + 1 < kLevels ? nodes[i + 1] : keys;
    if constexpr (!std::numeric_limits<Lane>::has_quiet_NaN) reached = reached < width ? reached : width;
  }
  return static_cast<std::uint32_t>(2 * reached - 1 - (tree[reached - 1] == score));
}

// Calls function with the number of levels as a constant: 8 levels hold 2^32 thresholds.
template <class Function>
void with_levels(int levels, Function&& function) {
  switch (levels) {
    case 1:
      return function(std::integral_constant<int, 1>{});
    case 2:
      return function(std::integral_constant<int, 2>{});
    case 3:
      return function(std::integral_constant<int, 3>{});
    case 4:
      return function(std::integral_constant<int, 4>{});
    case 5:
      return function(std::integral_constant<int, 5>{});
    case 6:
      return function(std::integral_constant<int, 6>{});
    case 7:
      return function(std::integral_constant<int, 7>{});
    default:
      return function(std::integral_constant<int, 8>{});
  }
}

// The buckets of many scores, which must all reach the class's lowest threshold. Up to 15 elements of `buckets` after
// the last one are overwritten.
template <class Lane>
void find_buckets(const Lane* tree, std::int64_t keys, const Lane* scores, std::int64_t count, std::uint32_t* buckets) {
  if (find_buckets_of_few(tree, keys, scores, count, buckets)) return;
  with_levels(tree_levels(keys), [&](auto levels) {
    for (std::int64_t i = 0; i < count; ++i) buckets[i] = find_bucket<decltype(levels)::value>(tree, keys, scores[i]);
  });
}

// The number of thresholds that each score reaches, for any scores. Overwrites `scores`.
template <class Lane>
void find_reached(const Lane* tree, std::int64_t keys, Lane lowest, Lane* scores, std::int64_t count,
                  std::uint32_t* reached) {
  for (std::int64_t i = 0; i < count; ++i) reached[i] = scores[i] >= lowest;
  for (std::int64_t i = 0; i < count; ++i) scores[i] = scores[i] >= lowest ? scores[i] : lowest;
  alignas(64) std::uint32_t buckets[kTileRows + 16];
  for (std::int64_t first = 0; first < count; first += kTileRows) {
    const std::int64_t filled = std::min<std::int64_t>(kTileRows, count - first);
    find_buckets(tree, keys, scores + first, filled, buckets);
    for (std::int64_t i = 0; i < filled; ++i) reached[first + i] *= buckets[i] / 2 + 1;
  }
}

// Adds one to counts[bucket] for each bucket, all below `width`. Many scores fall into the same bucket,
// and an increment waits for the previous one at the same address. With four sets of counts, four
// increments run independently.
inline void add_counts(const std::uint32_t* buckets, std::int64_t count, std::int64_t width, std::uint32_t* counts) {
  constexpr std::int64_t kWidest = 256;
  if (width > kWidest || count < width / 2) {
    for (std::int64_t i = 0; i < count; ++i) ++counts[buckets[i]];
    return;
  }
  alignas(64) std::uint32_t sets[4][kWidest];
  for (auto& counters : sets) std::fill(counters, counters + width, 0u);
  std::int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (int k = 0; k < 4; ++k) ++sets[k][buckets[i + k]];
  }
  for (; i < count; ++i) ++sets[0][buckets[i]];
  for (std::int64_t b = 0; b < width; ++b) counts[b] += sets[0][b] + sets[1][b] + sets[2][b] + sets[3][b];
}

// True if whole packs can be loaded from 16 rows of fewer than 16 columns: the elements after a row are those of the
// next rows, or of the memory between them.
template <class T>
bool can_load_past_rows(const Shard& shard, const std::byte* ptr) {
  constexpr std::int64_t kSize = sizeof(T);
  if (shard.col_stride != kSize || shard.row_stride < kSize) return false;
  const std::byte* const end = shard.data + (shard.rows - 1) * shard.row_stride + kSize;
  return end - ptr >= 15 * shard.row_stride + 16 * kSize;
}

// Loads a 16 x 16 block as packs of rows, for any strides. Lanes outside the matrix have any values, and packs outside
// it are zero.
template <class T>
__attribute__((always_inline)) inline void load_block(const Shard& shard, std::int64_t row, std::int64_t rows,
                                                      std::int64_t col, std::int64_t cols,
                                                      Pack<LaneOf<T>> (&packs)[16]) {
  constexpr std::int64_t kSize = sizeof(T);
  const std::byte* ptr = shard.at(row, col);
  if (rows == 16 && cols == 16 && shard.col_stride == kSize) {
    for (int i = 0; i < 16; ++i) packs[i] = Pack<LaneOf<T>>::template load_elements<T>(ptr + i * shard.row_stride);
  } else if (rows == 16 && shard.row_stride == kSize) {
    for (int i = 0; i < 16; ++i) {
      packs[i] = i < cols ? Pack<LaneOf<T>>::template load_elements<T>(ptr + i * shard.col_stride)
                          : Pack<LaneOf<T>>::broadcast(LaneOf<T>{0});
    }
    transpose(packs);
  } else if (rows == 16 && can_load_past_rows<T>(shard, ptr)) {
    for (int i = 0; i < 16; ++i) packs[i] = Pack<LaneOf<T>>::template load_elements<T>(ptr + i * shard.row_stride);
  } else {
    LaneOf<T> lanes[16][16] = {};
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < cols; ++j) {
        lanes[i][j] = to_lane(load_element<T>(ptr + i * shard.row_stride + j * shard.col_stride));
      }
    }
    for (int i = 0; i < 16; ++i) packs[i] = Pack<LaneOf<T>>::load(lanes[i]);
  }
}

inline std::uint32_t low_bits(std::int64_t count) {
  return count >= 16 ? 0xFFFFu : count <= 0 ? 0u : (1u << count) - 1u;
}

// Notes the first NaN of a block whose packs are rows.
template <class Lane>
__attribute__((always_inline)) inline void note_nans(const Pack<Lane> (&packs)[16], std::int64_t row, std::int64_t rows,
                                                     std::int64_t col, std::int64_t cols, FirstNan& first) {
  std::uint32_t any_nan = 0;
  for (int i = 0; i < 16; i += 2) any_nan |= packs[i].nan_mask(packs[i + 1]);
  if (any_nan == 0) return;
  for (std::int64_t i = 0; i < rows; ++i) {
    if (const std::uint32_t mask = packs[i].nan_mask(packs[i]) & low_bits(cols))
      first.note(row + i, col + __builtin_ctz(mask));
  }
}

// known: a mask of known rows for each column of the strip, and for those up to a multiple of 16; not read unless
// kMasked.
template <class T, bool kMasked>
void rank_scan_strip(const RankScanPlan<LaneOf<T>>& plan, const RankScanItem& item, std::int64_t col, std::int64_t cols,
                     const RowMask* known, RankScanWorker<LaneOf<T>>& worker) {
  using Lane = LaneOf<T>;
  constexpr std::int64_t kBuffer = kTileRows + 16;
  constexpr std::int64_t kSize = sizeof(T);
  const Thresholds<Lane>& thresholds = *plan.thresholds;
  const Tile& tile = item.tile;
  Lane* const survivors = worker.survivors.data();
  std::int64_t survived[kStripCols] = {};

  for (std::int64_t row = tile.first_row; row < tile.first_row + tile.rows; row += 16) {
    const std::int64_t rows = std::min<std::int64_t>(16, tile.first_row + tile.rows - row);
    // The next block is the one below, or the first of the next strip. It is a stride away, where no
    // hardware prefetcher looks.
    const std::uint32_t valid = low_bits(rows);
    const std::int64_t row_block = (row - tile.first_row) / 16;
    const auto known_rows = [=](std::int64_t j) -> std::uint32_t {
      if constexpr (kMasked) return known[j].block[row_block];
      return valid;
    };
    const bool below = row + 16 < tile.first_row + tile.rows;
    const std::int64_t next_row = below ? row + 16 : tile.first_row;
    const std::int64_t next_col = below ? col : col + cols;
    const bool fetch_next = tile.shard->col_stride == kSize && (below || next_col < item.end_col);
    const std::int64_t next_rows = std::min<std::int64_t>(16, tile.first_row + tile.rows - next_row);
    Pack<Lane> best;
    BeatenCounts beaten;
    if (plan.rank != nullptr) {
      best = Pack<Lane>::load(plan.best_score + row);
      beaten.start(plan.best_class + row);
    }
    for (std::int64_t block = 0; block < cols; block += 16) {
      const std::int64_t block_cols = std::min<std::int64_t>(16, cols - block);
      if (fetch_next) {
        const std::byte* next = tile.shard->at(next_row, next_col + block);
        for (std::int64_t i = 0; i < next_rows; ++i, next += tile.shard->row_stride) {
          for (std::int64_t byte = 0; byte < 16 * kSize; byte += 64) __builtin_prefetch(next + byte, 0, 2);
        }
      }
      Pack<Lane> packs[16];
      load_block<T>(*tile.shard, row, rows, col + block, block_cols, packs);
      note_nans<Lane>(packs, row, rows, col + block, block_cols, worker.nan);
      transpose(packs);
      if (plan.rank != nullptr) {
        for (std::int64_t j = 0; j < block_cols; ++j)
          beaten.add(packs[j], best, static_cast<std::int32_t>(col + block + j),
                     kMasked ? known_rows(block + j) : 0xFFFFu);
      }
      // All sixteen columns, so that the loop unrolls. Columns after the last class have an
      // unreachable lowest threshold.
      const Lane* const lowest = thresholds.lowest.data() + col + block;
      Lane* const buffer = survivors + block * kBuffer;
      std::int64_t* const ends = survived + block;
#pragma GCC unroll 16
      for (int j = 0; j < 16; ++j) {
        const std::uint32_t mask = packs[j].greater_equal(Pack<Lane>::broadcast(lowest[j])) & known_rows(block + j);
        ends[j] += packs[j].compress_store(buffer + j * kBuffer + ends[j], mask);
      }
    }
    if (plan.rank != nullptr) {
      std::int32_t counts[16];
      beaten.store(counts);
      for (std::int64_t i = 0; i < rows; ++i) {
        if (counts[i] != 0) plan.rank[row + i].fetch_add(counts[i], std::memory_order_relaxed);
      }
    }
  }

  alignas(64) std::uint32_t buckets[kBuffer];
  for (std::int64_t j = 0; j < cols; ++j) {
    const std::int64_t c = col + j;
    const std::int64_t keys = thresholds.count(c);
    if (keys == 0) continue;
    find_buckets(thresholds.tree.data() + thresholds.tree_offset[c], keys, survivors + j * kBuffer, survived[j],
                 buckets);
    // Not in one loop with the search: an increment right after the store of its bucket would wait for the store.
    add_counts(buckets, survived[j], 2 * keys, worker.buckets.data() + 2 * thresholds.offset[c]);
  }
}

// Looks up the drawn negatives of this item and strip, while its scores are in the cache. Returns the first
// draw of the next strip.
template <class T>
const Draw* look_up_draws(const RankScanPlan<LaneOf<T>>& plan, const RankScanItem& item, std::int64_t end_col,
                          const Draw* draw, const Draw* end) {
  using Lane = LaneOf<T>;
  const Thresholds<Lane>& thresholds = *plan.thresholds;
  const std::byte* const corner = item.tile.shard->at(item.tile.first_row, item.first_col);
  const auto ptr_of = [&](const Draw& d) {
    return corner + d.row * item.tile.shard->row_stride + d.col * item.tile.shard->col_stride;
  };
  constexpr std::int64_t kBatch = 64;
  constexpr std::int64_t kAhead = 24;
  alignas(64) Lane scores[kBatch + 16];
  alignas(64) std::uint32_t reached[kBatch];
  while (draw < end && item.first_col + draw->col < end_col) {
    const Draw* const first = draw;
    for (; draw < end && draw < first + kBatch && draw->col == first->col; ++draw) {
      if (draw + kAhead < end) {
        __builtin_prefetch(ptr_of(draw[kAhead]));
        __builtin_prefetch(plan.reached + draw[kAhead].slot, 1);
      }
      scores[draw - first] = to_lane(load_element<T>(ptr_of(*draw)));
    }
    const std::int64_t c = item.first_col + first->col;
    find_reached(thresholds.tree.data() + thresholds.tree_offset[c], thresholds.count(c), thresholds.lowest[c], scores,
                 draw - first, reached);
    for (const Draw* found = first; found < draw; ++found) plan.reached[found->slot] = reached[found - first];
  }
  return draw;
}

template <class T>
void rank_scan_tile(const RankScanPlan<LaneOf<T>>& plan, const RankScanItem& item, RankScanWorker<LaneOf<T>>& worker) {
  const Draw* draw = plan.draws == nullptr ? nullptr : plan.draws + plan.draw_offset[item.index];
  const Draw* const draw_end = plan.draws == nullptr ? nullptr : plan.draws + plan.draw_offset[item.index + 1];
  for (std::int64_t col = item.first_col; col < item.end_col; col += kStripCols) {
    const std::int64_t cols = std::min<std::int64_t>(kStripCols, item.end_col - col);
    const RowMask* const known = plan.known.of(item.tile, col, col + cols, worker.known);
    if (known == nullptr) {
      rank_scan_strip<T, false>(plan, item, col, cols, nullptr, worker);
    } else {
      rank_scan_strip<T, true>(plan, item, col, cols, known, worker);
    }
    draw = look_up_draws<T>(plan, item, col + cols, draw, draw_end);
  }
}

// The permutation at 32 indices at a time, as two dependency chains that the processor overlaps. The few points beyond
// the end are permuted again one by one.
void draw_numbers(const KeyedPermutation& permutation, std::uint32_t draws, std::uint32_t* numbers) {
  std::uint32_t next_left = 0;
  std::uint32_t next_right = 0;
  // The first round adds the same step to all indices with the same right half: to at most two halves in a block.
  const bool one_step = permutation.left_radix >= 32;
  const auto first_step = [&](std::uint32_t right) {
    return rotate_half(0, right, permutation.round_key[0], permutation.left_radix);
  };
  std::uint32_t steps[2] = {first_step(0), first_step(1)};
  for (std::uint32_t first = 0; first < draws; first += 32) {
    alignas(64) std::uint32_t lefts[32];
    alignas(64) std::uint32_t rights[32];
    if (one_step) {
      const std::uint32_t radix = permutation.left_radix;
      for (std::uint32_t i = 0; i < 32; ++i) {
        const bool wraps = next_left + i >= radix;
        const std::uint32_t left = next_left + i - (wraps ? radix : 0) + (wraps ? steps[1] : steps[0]);
        lefts[i] = std::min(left, left - radix);  // below the radix, the difference wraps
        rights[i] = next_right + wraps;
      }
    } else {
      for (std::uint32_t i = 0; i < 32; ++i) {
        lefts[i] = (first + i) % permutation.left_radix;
        rights[i] = (first + i) / permutation.left_radix;
      }
    }
    next_left += 32;
    if (next_left >= permutation.left_radix) {
      next_left -= permutation.left_radix;
      ++next_right;
      steps[0] = steps[1];
      steps[1] = first_step(next_right + 1);
    }
    Halves left[2] = {Halves::load(lefts), Halves::load(lefts + 16)};
    Halves right[2] = {Halves::load(rights), Halves::load(rights + 16)};
    for (int round = 0; round < permutation.rounds; round += 2) {
      if (round != 0 || !one_step) {
        for (int i = 0; i < 2; ++i) left[i].rotate(right[i], permutation.round_key[round], permutation.left_radix);
      }
      for (int i = 0; i < 2; ++i) right[i].rotate(left[i], permutation.round_key[round + 1], permutation.right_radix);
    }
    for (int i = 0; i < 2; ++i) {
      left[i].store(lefts + 16 * i);
      right[i].store(rights + 16 * i);
    }
    const std::uint32_t count = std::min(32u, draws - first);
    std::uint32_t outside = 0;
    for (std::uint32_t i = 0; i < 32; ++i) {
      lefts[i] += rights[i] * permutation.left_radix;
      outside += lefts[i] >= permutation.size;
    }
    std::copy(lefts, lefts + count, numbers + first);
    if (outside == 0) continue;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (lefts[i] >= permutation.size) numbers[first + i] = permute(permutation, first + i);
    }
  }
}

template <class T>
bool copy_columns(const Tile& tile, std::int64_t first_col, std::int64_t cols, std::int64_t stride, LaneOf<T>* lanes) {
  using Lane = LaneOf<T>;
  constexpr std::int64_t kSize = sizeof(T);
  const Shard& shard = *tile.shard;
  std::uint32_t any_nan = 0;
  if (cols == 1 || shard.row_stride == kSize) {
    for (std::int64_t j = 0; j < cols; ++j) {
      const std::byte* const column = shard.at(tile.first_row, first_col + j);
      Lane* const out = lanes + j * stride;
      std::int64_t i = 0;
      for (; shard.row_stride == kSize && i + 16 <= tile.rows; i += 16) {
        const auto pack = Pack<Lane>::template load_elements<T>(column + i * kSize);
        any_nan |= pack.nan_mask(pack);
        pack.compress_store(out + i, 0xFFFF);
      }
      for (; i < tile.rows; ++i) {
        out[i] = to_lane(load_element<T>(column + i * shard.row_stride));
        any_nan |= out[i] != out[i];
      }
    }
    return any_nan != 0;
  }
  for (std::int64_t i = 0; i < tile.rows; i += 16) {
    constexpr std::int64_t kAhead = 64;  // rows; each is a cache miss, and no hardware prefetcher follows the stride
    for (std::int64_t ahead = i + kAhead; ahead < std::min(i + kAhead + 16, tile.rows); ++ahead) {
      __builtin_prefetch(shard.at(tile.first_row + ahead, first_col));
    }
    const std::int64_t rows = std::min<std::int64_t>(16, tile.rows - i);
    Pack<Lane> packs[16];
    load_block<T>(shard, tile.first_row + i, rows, first_col, cols, packs);
    transpose(packs);
    for (std::int64_t j = 0; j < cols; ++j) {
      any_nan |= packs[j].nan_mask(packs[j]);
      Lane* const out = lanes + j * stride + i;
      if (rows == 16) {
        packs[j].compress_store(out, 0xFFFF);
      } else {  // another thread may write the rows after this tile
        Lane few[32];
        packs[j].compress_store(few, 0xFFFF);
        std::copy(few, few + rows, out);
      }
    }
  }
  return any_nan != 0;
}

template <class T>
void reach_columns(const Matrix& scores, const Thresholds<LaneOf<T>>& thresholds, std::int64_t first_col,
                   std::int64_t cols, std::uint32_t* reached) {
  using Lane = LaneOf<T>;
  AlignedLanes<Lane> columns;
  constexpr std::int64_t kColumn = kTileRows + 16;
  columns.resize(16 * kColumn);
  for (const Tile& tile : row_tiles(scores, kTileRows)) {
    copy_columns<T>(tile, first_col, cols, kColumn, columns.data());
    for (std::int64_t j = 0; j < cols; ++j) {
      const std::int64_t c = first_col + j;
      std::uint32_t* column_reached = reached + j * scores.rows + tile.first_row;
      if (thresholds.count(c) == 0) {
        std::fill(column_reached, column_reached + tile.rows, 0u);
      } else {
        find_reached(thresholds.tree.data() + thresholds.tree_offset[c], thresholds.count(c), thresholds.lowest[c],
                     columns.data() + j * kColumn, tile.rows, column_reached);
      }
    }
  }
}

#define VLTR_KERNELS(T)                                                                                             \
  template void rank_scan_tile<T>(const RankScanPlan<LaneOf<T>>&, const RankScanItem&, RankScanWorker<LaneOf<T>>&); \
  template bool copy_columns<T>(const Tile&, std::int64_t, std::int64_t, std::int64_t, LaneOf<T>*);                 \
  template void reach_columns<T>(const Matrix&, const Thresholds<LaneOf<T>>&, std::int64_t, std::int64_t,           \
                                 std::uint32_t*);
VLTR_FOR_EACH_ELEMENT(VLTR_KERNELS)
#undef VLTR_KERNELS

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
