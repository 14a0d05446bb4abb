#include "cpu/thresholds.hpp"

#include <atomic>
#include <type_traits>

#include "cpu/find_nan.hpp"

namespace vltr::cpu {
namespace {

template <class T>
bool gather_class(const Matrix& scores, const std::uint32_t* rows, std::int64_t count, std::int64_t col,
                  LaneOf<T>* out) {
  constexpr std::int64_t kAhead = 16;  // each read is a cache miss, so several are in flight
  bool nan = false;
  for (std::int64_t i = 0; i < count; ++i) {
    if (i + kAhead < count) __builtin_prefetch(scores.shard_of(rows[i + kAhead]).at(rows[i + kAhead], col));
    const LaneOf<T> lane = to_lane(load_element<T>(scores.shard_of(rows[i]).at(rows[i], col)));
    nan |= lane != lane;
    out[i] = lane + LaneOf<T>{0};  // -0 + 0 is +0
  }
  return nan;
}

// Calls per_class(c, first, count) for every class, a few classes per item. The scores of class c are
// [first, first + count).
template <class PerClass>
void for_each_class(const Positives& positives, const Runner& runner, const PerClass& per_class) {
  const std::int64_t classes = positives.classes();
  const std::int64_t step = items_per_step(classes, 16, runner.threads);
  runner.run((classes + step - 1) / step, [&](std::int64_t item, int) {
    for (std::int64_t c = item * step; c < std::min(classes, (item + 1) * step); ++c) {
      per_class(c, positives.offset.first(c), positives.offset.length(c));
    }
  });
}

}  // namespace

template <class Lane>
Array<Lane> positive_scores(const Matrix& scores, const Positives& positives, const Runner& runner) {
  Array<Lane> found(positives.rows.count());
  std::atomic<bool> nan{false};
  with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<LaneOf<T>, Lane>) {
      for_each_class(positives, runner, [&](std::int64_t c, std::int64_t first, std::int64_t count) {
        if (gather_class<T>(scores, positives.rows.data() + first, count, c, found.data() + first)) nan = true;
      });
    } else {
      throw std::logic_error("lane does not belong to the element type");
    }
  });
  if (nan) throw_if_nan(scores, runner);
  return found;
}

template <class Lane>
void sort_within_classes(const Positives& positives, Array<Lane>& scores, const Runner& runner) {
  for_each_class(positives, runner, [&](std::int64_t, std::int64_t first, std::int64_t count) {
    std::sort(scores.begin() + first, scores.begin() + first + count);
  });
}

template <class Lane>
void Thresholds<Lane>::build_trees() {
  const std::int64_t classes = offset.lists();
  tree_offset.resize(classes);
  lowest.assign((classes + 15) / 16 * 16, unreachable<Lane>());
  std::int64_t lanes = 0;
  for (std::int64_t c = 0; c < classes; ++c) {
    tree_offset[c] = lanes;
    lanes += tree_nodes(count(c)) * kNodeKeys;
  }
  tree.resize(lanes);
  for (std::int64_t c = 0; c < classes; ++c) {
    if (count(c) == 0) continue;
    const Lane* first = keys.data() + offset[c];
    lowest[c] = *first;
    build_tree(first, count(c), tree.data() + tree_offset[c]);
  }
}

template <class Lane>
Thresholds<Lane> thresholds_of(const Positives& positives, const Array<Lane>& sorted_scores) {
  Thresholds<Lane> thresholds;
  thresholds.offset.push_back(0);
  thresholds.keys.reserve(sorted_scores.size());
  for (std::int64_t c = 0; c < positives.classes(); ++c) {
    for (std::int64_t i = positives.offset[c]; i < positives.offset[c + 1]; ++i) {
      const Lane score = sorted_scores[i];
      if (i == positives.offset[c] || score != thresholds.keys.back()) thresholds.keys.push_back(score);
    }
    thresholds.offset.push_back(thresholds.keys.count());
  }
  thresholds.build_trees();
  return thresholds;
}

template <class Lane>
Thresholds<Lane> thresholds_of(const RankTable& table, const Array<std::int64_t>& classes) {
  const Lane* const descending = std::get<TableColumn<Lane>>(table.thresholds).data();
  Thresholds<Lane> thresholds;
  thresholds.offset.push_back(0);
  auto next = classes.begin();
  for (std::int64_t c = 0; c < table.offset.lists(); ++c) {
    if (next != classes.end() && *next == c) {
      ++next;
      for (std::int64_t k = table.offset[c + 1]; k-- > table.offset[c];) thresholds.keys.push_back(descending[k]);
    }
    thresholds.offset.push_back(thresholds.keys.count());
  }
  thresholds.build_trees();
  return thresholds;
}

#define VLTR_LANE(Lane)                                                                       \
  template struct Thresholds<Lane>;                                                           \
  template Array<Lane> positive_scores<Lane>(const Matrix&, const Positives&, const Runner&); \
  template void sort_within_classes<Lane>(const Positives&, Array<Lane>&, const Runner&);     \
  template Thresholds<Lane> thresholds_of<Lane>(const Positives&, const Array<Lane>&);        \
  template Thresholds<Lane> thresholds_of<Lane>(const RankTable&, const Array<std::int64_t>&);
VLTR_LANE(float)
VLTR_LANE(double)
VLTR_LANE(std::int64_t)
#undef VLTR_LANE

}  // namespace vltr::cpu
