// The kernel of row_effects_tile.hpp for one instruction set. Each rank_scan_*.cpp includes it.
#pragma once

#include "cpu/row_effects_tile.hpp"
#include "cpu/survivors.inl"

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// Adds the entries of the thresholds that rows reach to the sums of the rows, which differ from each other.
template <int kWidth>
void add_effects(const std::uint32_t* buckets, const float* rows, std::int64_t count, const std::int64_t* above,
                 std::int64_t* sums) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t* const entry = above + static_cast<std::int64_t>(buckets[i] / 2) * kWidth;
    std::int64_t* const sum = sums + static_cast<std::int64_t>(bit_cast<std::uint32_t>(rows[i])) * kWidth;
    std::int64_t added[kWidth];
    for (int w = 0; w < kWidth; ++w) added[w] = sum[w] + entry[w];
    for (int w = 0; w < kWidth; ++w) sum[w] = added[w];
  }
}

// Gives negatives that equal a threshold the entries of their bucket, in place of those above it. Few do, so that most
// blocks are passed over. The buckets of positives must be odd.
inline void correct_ties(const std::uint32_t* buckets, const float* rows, std::int64_t count,
                         const std::int64_t* entries, std::int64_t width, std::int64_t* sums) {
  constexpr std::int64_t kBlock = 64;
  for (std::int64_t first = 0; first < count; first += kBlock) {
    const std::int64_t end = std::min(count, first + kBlock);
    std::uint32_t all_odd = 1;
    for (std::int64_t i = first; i < end; ++i) all_odd &= buckets[i];
    if (all_odd != 0) continue;
    for (std::int64_t i = first; i < end; ++i) {
      if (buckets[i] % 2 != 0) continue;
      const std::int64_t* const entry = entries + static_cast<std::int64_t>(buckets[i]) * width;
      std::int64_t* const sum = sums + static_cast<std::int64_t>(bit_cast<std::uint32_t>(rows[i])) * width;
      for (std::int64_t w = 0; w < width; ++w) sum[w] += entry[w] - entry[width + w];
    }
  }
}

// The place of a row among ascending ones, or of the last one below it; count > 0. Each step adds half of the range or
// nothing, by arithmetic, because a branch would be mispredicted every second time.
inline std::int64_t place_of(std::uint32_t row, const float* rows, std::int64_t count) {
  std::int64_t place = 0;
  while (count > 1) {
    const std::int64_t half = count / 2;
    place += half * (bit_cast<std::uint32_t>(rows[place + half]) <= row);
    count -= half;
  }
  return place;
}

// Notes that positives have the entries of positives, in place of those of negatives above the threshold, and makes
// their buckets odd.
template <class Lane>
void find_corrections(const EffectPlan<Lane>& plan, Span<const std::uint32_t> positives, std::int64_t first_row,
                      std::int64_t first_key, std::uint32_t* buckets, const float* rows, std::int64_t count,
                      std::int64_t* sums, EffectWorker<Lane>& worker) {
  const std::int64_t width = plan.tables->width;
  for (const std::uint32_t positive : positives) {
    const auto row = static_cast<std::uint32_t>(positive - first_row);
    const std::int64_t place = place_of(row, rows, count);
    if (count == 0 || bit_cast<std::uint32_t>(rows[place]) != row || buckets[place] % 2 != 0) {
      worker.has_stranger = true;
      continue;
    }
    const std::int64_t* const entry = plan.correction + (first_key + buckets[place] / 2) * width;
    __builtin_prefetch(entry);
    worker.corrections.push_back({sums + row * width, entry});
    ++buckets[place];
  }
}

// Leaves the base of a class to the rows that know it. known: null if all of them do.
inline void correct_bases(const RowMask* known, std::int64_t rows, BaseOf base_of, const std::int64_t* base,
                          std::int64_t width, std::int64_t* sums) {
  const bool is_given = base_of == BaseOf::kNoRow;
  const bool is_zero = std::all_of(base, base + width, [](std::int64_t value) { return value == 0; });
  if (base_of == BaseOf::kAllKnown || is_zero || (known == nullptr && !is_given)) return;
  for (std::int64_t row = 0; row < rows; row += 16) {
    const std::uint32_t valid = low_bits(rows - row);
    const std::uint32_t here = known == nullptr ? valid : known->block[row / 16];
    for (std::uint32_t left = is_given ? here : ~here & valid; left != 0; left &= left - 1) {
      std::int64_t* const sum = sums + (row + __builtin_ctz(left)) * width;
      for (std::int64_t w = 0; w < width; ++w) sum[w] += is_given ? base[w] : -base[w];
    }
  }
}

template <class T>
void effect_strip(const EffectPlan<LaneOf<T>>& plan, const Tile& tile, std::int64_t tile_index, std::int64_t col,
                  std::int64_t cols, EffectWorker<LaneOf<T>>& worker) {
  using Lane = LaneOf<T>;
  constexpr std::int64_t kBuffer = kTileRows + 16;
  const Thresholds<Lane>& thresholds = *plan.thresholds;
  const EffectTables& tables = *plan.tables;
  const std::int64_t width = tables.width;
  const std::int64_t classes = thresholds.classes();
  std::int64_t survived[kStripCols] = {};
  find_survivors<T>(tile, thresholds.lowest.data(), col, cols, worker.survivors.data(), worker.rows.data(), survived,
                    worker.nan);
  const RowMask* const known = plan.known.of(tile, col, col + cols, worker.known);
  if (known != nullptr) drop_unknown<Lane>(known, cols, worker.survivors.data(), worker.rows.data(), survived);

  const std::int64_t* const first_positive = plan.first_positive + tile_index * classes;
  // The entries of a class are read once a tile, in any order, so they are fetched before they are needed.
  const auto fetch = [&](std::int64_t c) {
    constexpr std::int64_t kMostBytes = 8192;
    const auto* const first = reinterpret_cast<const std::byte*>(plan.above + thresholds.offset.first(c) * width);
    const std::int64_t bytes = std::min<std::int64_t>(kMostBytes, thresholds.count(c) * width * 8);
    for (std::int64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(first + byte);
    __builtin_prefetch(plan.positives->rows.data() + first_positive[c]);
  };
  fetch(col);
  const auto add = width == 1 ? add_effects<1> : width == 2 ? add_effects<2> : add_effects<4>;
  alignas(64) std::uint32_t buckets[kBuffer];
  for (std::int64_t j = 0; j < cols; ++j) {
    const std::int64_t c = col + j;
    if (j + 1 < cols) fetch(c + 1);
    if (thresholds.count(c) == 0) continue;
    std::int64_t* const sums = worker.sums.data() + plan.group[c] * kTileRows * width;
    if (plan.base_of != nullptr) {
      correct_bases(known == nullptr ? nullptr : known + j, tile.rows, plan.base_of[c], tables.base.data() + c * width,
                    width, sums);
    }
    find_buckets(thresholds.tree.data() + thresholds.tree_offset[c], thresholds.count(c),
                 worker.survivors.data() + j * kBuffer, survived[j], buckets);
    const float* const rows = worker.rows.data() + j * kBuffer;
    const std::int64_t first_key = thresholds.offset.first(c);
    add(buckets, rows, survived[j], plan.above + first_key * width, sums);
    const Span<const std::uint32_t> positives(plan.positives->rows.data() + first_positive[c],
                                              first_positive[classes + c] - first_positive[c]);
    find_corrections(plan, positives, tile.first_row, first_key, buckets, rows, survived[j], sums, worker);
    if (plan.ties_differ) {
      correct_ties(buckets, rows, survived[j], tables.negative.data() + 2 * first_key * width, width, sums);
    }
  }
  for (const auto& correction : worker.corrections) {
    for (std::int64_t w = 0; w < width; ++w) correction.sum[w] += correction.entry[w];
  }
  worker.corrections.clear();
}

template <class T>
void effect_tile(const EffectPlan<LaneOf<T>>& plan, const Tile& tile, std::int64_t tile_index, std::int64_t cols,
                 EffectWorker<LaneOf<T>>& worker) {
  for (std::int64_t col = 0; col < cols; col += kStripCols) {
    effect_strip<T>(plan, tile, tile_index, col, std::min<std::int64_t>(kStripCols, cols - col), worker);
  }
}

#define VLTR_KERNEL(T)                                                                                \
  template void effect_tile<T>(const EffectPlan<LaneOf<T>>&, const Tile&, std::int64_t, std::int64_t, \
                               EffectWorker<LaneOf<T>>&);
VLTR_FOR_EACH_ELEMENT(VLTR_KERNEL)
#undef VLTR_KERNEL

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
