#include "cpu/count_reached.hpp"

namespace vltr::cpu {
namespace {

// The number of descending keys above the score; all of them for a NaN. Each step adds half of the remaining range, or
// nothing, by arithmetic: scores are random, so a branch on them would be mispredicted every second time.
template <class Lane>
std::int64_t keys_above(const Lane* keys, std::int64_t count, Lane score) {
  std::int64_t above = 0;
  for (std::int64_t half = 0; count > 0; count -= half) {
    half = (count + 1) / 2;
    above += half * !(score >= keys[above + half - 1]);
  }
  return above;
}

template <class T>
void search_cells(const Matrix& scores, const Cells& cells, std::int64_t first, std::int64_t end,
                  const RankTable& thresholds, std::uint32_t* out) {
  const LaneOf<T>* const keys = std::get<TableColumn<LaneOf<T>>>(thresholds.thresholds).data();
  const auto ptr_of = [&](std::int64_t i) { return scores.shard_of(cells.row[i]).at(cells.row[i], cells.cls[i]); };
  constexpr std::int64_t kAhead = 16;  // each read is a cache miss, so several are in flight
  for (std::int64_t i = first; i < end; ++i) {
    if (i + kAhead < end) __builtin_prefetch(ptr_of(i + kAhead));
    const std::int64_t first_key = thresholds.offset.first(cells.cls[i]);
    const std::int64_t count = thresholds.offset.length(cells.cls[i]);
    const LaneOf<T> score = to_lane(load_element<T>(ptr_of(i)));
    out[i] = static_cast<std::uint32_t>(count - keys_above(keys + first_key, count, score));
  }
}

}  // namespace

Array<std::uint32_t> count_reached(const Matrix& scores, const Cells& cells, const RankTable& thresholds,
                                   const Runner& runner) {
  Array<std::uint32_t> out(cells.count);
  constexpr std::int64_t kCellsPerItem = 1 << 14;
  with_element_type(scores.dtype, [&](auto tag) {
    runner.run((cells.count + kCellsPerItem - 1) / kCellsPerItem, [&](std::int64_t item, int) {
      search_cells<typename decltype(tag)::type>(scores, cells, item * kCellsPerItem,
                                                 std::min(cells.count, (item + 1) * kCellsPerItem), thresholds,
                                                 out.data());
    });
  });
  return out;
}

}  // namespace vltr::cpu
