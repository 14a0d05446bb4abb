// The kernels of score_order.hpp for one instruction set. Each rank_scan_*.cpp includes it.
#pragma once

#include <cstring>

#include "core/large_array.hpp"
#include "cpu/rank_scan_tile.inl"
#include "cpu/score_order.hpp"

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// 128 keys are searched in registers, and 128 places of writing stay in the cache.
constexpr std::int64_t kOrderGroups = 128;

// Consecutive groups of thresholds, and the next place of a negative of each.
template <class Lane>
class OrderGroups {
 public:
  // Group g has the thresholds first + g * (end - first) / count and on.
  OrderGroups(const OrderedClass<Lane>& ordered, std::int64_t first, std::int64_t end)
      : first_(first),
        end_(end),
        count_(end - first <= kOrderGroups ? end - first
                                           : std::min(kOrderGroups, (end - first + kOrderGroups - 1) / kOrderGroups)) {
    tree_.resize(tree_nodes(kOrderGroups) * kNodeKeys);
    Lane keys[kOrderGroups];  // the lowest of each group, ascending
    for (std::int64_t g = 0; g < count_; ++g) {
      keys[count_ - 1 - g] = ordered.keys[start(g + 1) - 1];
      next_[count_ - 1 - g] = static_cast<std::uint32_t>(ordered.reaching(start(g)));
    }
    last_ = static_cast<std::uint32_t>(ordered.reaching(end) - 1);
    build_tree(keys, count_, tree_.data());
  }
  std::int64_t count() const { return count_; }
  std::int64_t start(std::int64_t g) const { return first_ + g * (end_ - first_) / count_; }

  // Calls place(i, position) for each score, all of which must reach the lowest threshold. At most kTileRows scores,
  // and 16 more of any value.
  template <class Place>
  void add(const Lane* scores, std::int64_t count, const Place& place) {
    alignas(64) std::uint32_t buckets[kTileRows + 16];
    find_buckets(tree_.data(), count_, scores, count, buckets);
    for (std::int64_t i = 0; i < count; ++i) place(i, std::min(next_[buckets[i] / 2]++, last_));
  }

 private:
  std::int64_t first_;
  std::int64_t end_;
  std::int64_t count_;
  std::uint32_t next_[kOrderGroups];
  std::uint32_t last_;  // the last place, which no negative passes, even if another thread writes the scores
  AlignedLanes<Lane> tree_;
};

// Orders the negatives between two thresholds, reaching(first) to reaching(end). scores and numbers are theirs.
template <class Lane>
void order_range(const OrderedClass<Lane>& ordered, std::int64_t first, std::int64_t end, const Lane* scores,
                 const std::uint32_t* numbers) {
  const std::int64_t before = ordered.reaching(first);
  const std::int64_t total = ordered.reaching(end) - before;
  std::uint32_t* const by_score = ordered.by_score;
  if (end - first == 1) {
    std::copy(numbers, numbers + total, by_score + before);
    return;
  }
  OrderGroups<Lane> groups(ordered, first, end);
  const bool last = groups.count() == end - first;
  LargeArray<Lane> moved_scores;
  LargeArray<std::uint32_t> moved;
  if (!last) {
    moved_scores.resize(total);
    moved.resize(total);
  }
  // A search reads up to 15 scores too many. In the copy they are no scores that another thread writes.
  alignas(64) Lane some[kTileRows + 16] = {};
  for (std::int64_t begin = 0; begin < total; begin += kTileRows) {
    const std::int64_t count = std::min<std::int64_t>(kTileRows, total - begin);
    std::copy(scores + begin, scores + begin + count, some);
    if (last) {
      groups.add(some, count, [&](std::int64_t i, std::uint32_t position) { by_score[position] = numbers[begin + i]; });
    } else {
      groups.add(some, count, [&](std::int64_t i, std::uint32_t position) {
        moved_scores.data()[position - before] = some[i];
        moved.data()[position - before] = numbers[begin + i];
      });
    }
  }
  if (last) return;
  for (std::int64_t g = 0; g < groups.count(); ++g) {
    const std::int64_t from = ordered.reaching(groups.start(g)) - before;
    order_range(ordered, groups.start(g), groups.start(g + 1), moved_scores.data() + from, moved.data() + from);
  }
}

// Up to kTileRows numbers and scores of negatives between two thresholds.
template <class Lane>
struct SomeNegatives {
  alignas(64) Lane scores[kTileRows + 16];
  alignas(64) float numbers[kTileRows + 16];  // their bits: packs of words are packs of float
  std::int64_t count;

  // Those of negatives begin .. stop - 1 that reach `lowest` and, if `bounded`, do not reach `above`.
  void choose(const Lane* all, std::int64_t begin, std::int64_t stop, Lane lowest, bool bounded, Lane above) {
    const auto wide_lowest = Pack<Lane>::broadcast(lowest);
    const auto wide_above = Pack<Lane>::broadcast(above);
    count = 0;
    for (std::int64_t first = begin; first < stop; first += 16) {
      const std::int64_t few = std::min<std::int64_t>(16, stop - first);
      Lane tail[16] = {};
      if (few < 16) std::copy(all + first, all + stop, tail);
      const auto pack = Pack<Lane>::load(few < 16 ? tail : all + first);
      std::uint32_t mask = pack.greater_equal(wide_lowest) & low_bits(few);
      if (bounded) mask &= ~pack.greater_equal(wide_above);
      std::uint32_t number[16];
      for (int i = 0; i < 16; ++i) number[i] = static_cast<std::uint32_t>(first + i);
      float number_bits[16];
      std::memcpy(number_bits, number, sizeof(number_bits));
      pack.compress_store(scores + count, mask);
      count += Pack<float>::load(number_bits).compress_store(numbers + count, mask);
    }
  }
};

template <class Lane>
void order_part(const OrderedClass<Lane>& ordered, std::int64_t first, std::int64_t end) {
  if (ordered.reaching(first) == ordered.reaching(end)) return;
  OrderGroups<Lane> groups(ordered, first, end);
  const bool last = groups.count() == end - first;
  const Lane above = ordered.keys[std::max<std::int64_t>(first, 1) - 1];
  Lane* const moved_scores = ordered.moved_scores;
  std::uint32_t* const moved = ordered.moved;
  std::uint32_t* const by_score = ordered.by_score;
  SomeNegatives<Lane> some;
  std::fill(some.scores, some.scores + kTileRows + 16, Lane{0});
  for (std::int64_t begin = 0; begin < ordered.negatives; begin += kTileRows) {
    some.choose(ordered.scores, begin, std::min<std::int64_t>(begin + kTileRows, ordered.negatives),
                ordered.keys[end - 1], first > 0, above);
    if (last) {
      groups.add(some.scores, some.count, [&](std::int64_t i, std::uint32_t position) {
        by_score[position] = bit_cast<std::uint32_t>(some.numbers[i]);
      });
    } else {
      groups.add(some.scores, some.count, [&](std::int64_t i, std::uint32_t position) {
        moved_scores[position] = some.scores[i];
        moved[position] = bit_cast<std::uint32_t>(some.numbers[i]);
      });
    }
  }
  if (last) return;
  for (std::int64_t g = 0; g < groups.count(); ++g) {
    const std::int64_t from = ordered.reaching(groups.start(g));
    order_range(ordered, groups.start(g), groups.start(g + 1), moved_scores + from, moved + from);
  }
}

#define VLTR_KERNELS(Lane) template void order_part<Lane>(const OrderedClass<Lane>&, std::int64_t, std::int64_t);
VLTR_KERNELS(float)
VLTR_KERNELS(double)
VLTR_KERNELS(std::int64_t)
#undef VLTR_KERNELS

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
