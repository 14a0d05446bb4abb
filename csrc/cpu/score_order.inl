// The kernels of score_order.hpp for one instruction set. Each rank_scan_*.cpp includes it.
#pragma once

#include "cpu/rank_scan_tile.inl"
#include "cpu/score_order.hpp"

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// Consecutive groups of thresholds, and the next place of a negative of each.
template <class Lane>
class OrderGroups {
 public:
  // Group g has the thresholds at(g) to at(g + 1) - 1, descending.
  template <class At>
  OrderGroups(const OrderedClass<Lane>& ordered, std::int64_t groups, const At& at) : groups_(groups) {
    keys_.resize(groups);
    next_.resize(groups);
    tree_.resize(tree_nodes(groups) * kNodeKeys);
    for (std::int64_t g = 0; g < groups; ++g) {
      keys_[groups - 1 - g] = ordered.keys[at(g + 1) - 1];
      next_[groups - 1 - g] = static_cast<std::uint32_t>(ordered.reaching(at(g)));
    }
    build_tree(keys_.data(), groups, tree_.data());
  }
  // Calls place(i, position) for each score, all of which must reach the lowest threshold. At most kTileRows scores,
  // and 16 more of any value.
  template <class Place>
  void add(const Lane* scores, std::int64_t count, const Place& place) {
    alignas(64) std::uint32_t buckets[kTileRows + 16];
    find_buckets(tree_.data(), groups_, scores, count, buckets);
    std::uint32_t* const next = next_.data();
    for (std::int64_t i = 0; i < count; ++i) place(i, next[buckets[i] / 2]++);
  }

 private:
  std::int64_t groups_;
  Array<Lane> keys_;
  Array<std::uint32_t> next_;
  AlignedLanes<Lane> tree_;
};

template <class Lane>
void order_part(const OrderedClass<Lane>& ordered, std::int64_t first, std::int64_t end) {
  // 128 keys are searched in registers. More than 1,024 ranges would be more places of writing than a cache holds.
  constexpr std::int64_t kKeysPerRange = 1024;
  const std::int64_t ranges =
      std::clamp<std::int64_t>((end - first) / kKeysPerRange, std::min<std::int64_t>(128, end - first), 1024);
  const auto range_start = [=](std::int64_t range) { return first + range * (end - first) / ranges; };
  OrderGroups<Lane> of_ranges(ordered, ranges, range_start);
  const Lane lowest = ordered.keys[end - 1];
  const bool bounded = first > 0;
  const Lane above = bounded ? ordered.keys[first - 1] : Lane{};
  alignas(64) Lane found[kTileRows + 16] = {};
  std::uint32_t number[kTileRows + 16];
  Lane* const moved_scores = ordered.moved_scores;
  std::uint32_t* const moved = ordered.moved;
  for (std::int64_t begin = 0; begin < ordered.negatives; begin += kTileRows) {
    const std::int64_t stop = std::min<std::int64_t>(begin + kTileRows, ordered.negatives);
    std::int64_t count = 0;
    for (std::int64_t i = begin; i < stop; ++i) {
      const Lane score = ordered.scores[i];
      found[count] = score;
      number[count] = static_cast<std::uint32_t>(i);
      count += static_cast<int>(score >= lowest) & ~static_cast<int>(bounded & (score >= above));
    }
    of_ranges.add(found, count, [&](std::int64_t i, std::uint32_t position) {
      moved_scores[position] = found[i];
      moved[position] = number[i];
    });
  }
  std::uint32_t* const by_score = ordered.by_score;
  for (std::int64_t range = 0; range < ranges; ++range) {
    const std::int64_t from = range_start(range);
    const std::int64_t to = range_start(range + 1);
    const std::int64_t stop = ordered.reaching(to);
    if (to - from == 1) {
      std::copy(moved + ordered.reaching(from), moved + stop, by_score + ordered.reaching(from));
      continue;
    }
    OrderGroups<Lane> of_keys(ordered, to - from, [=](std::int64_t group) { return from + group; });
    for (std::int64_t begin = ordered.reaching(from); begin < stop; begin += kTileRows) {
      // A search reads up to 15 scores too many. In the copy they are no scores that another thread writes.
      const std::int64_t count = std::min<std::int64_t>(kTileRows, stop - begin);
      std::copy(moved_scores + begin, moved_scores + begin + count, found);
      of_keys.add(found, count, [&](std::int64_t i, std::uint32_t position) { by_score[position] = moved[begin + i]; });
    }
  }
}

#define VLTR_KERNELS(Lane) template void order_part<Lane>(const OrderedClass<Lane>&, std::int64_t, std::int64_t);
VLTR_KERNELS(float)
VLTR_KERNELS(double)
VLTR_KERNELS(std::int64_t)
#undef VLTR_KERNELS

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
