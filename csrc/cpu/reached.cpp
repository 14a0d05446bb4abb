#include "cpu/reached.hpp"

namespace vltr::cpu {
namespace {

// How many of the descending keys lie above the score, all of them for a NaN. Every step adds half of what is left or
// nothing, by arithmetic: scores are random, and a branch on them would be mispredicted every other time.
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
  const LaneOf<T>* const keys = std::get<std::vector<LaneOf<T>>>(thresholds.thresholds).data();
  const auto place_of = [&](std::int64_t i) { return scores.shard_of(cells.row[i]).at(cells.row[i], cells.cls[i]); };
  constexpr std::int64_t kAhead = 16;  // each read is a cache miss: keep several in flight
  for (std::int64_t i = first; i < end; ++i) {
    if (i + kAhead < end) __builtin_prefetch(place_of(i + kAhead));
    const std::int64_t first_key = thresholds.offset[cells.cls[i]];
    const std::int64_t count = thresholds.offset[cells.cls[i] + std::size_t{1}] - first_key;
    const LaneOf<T> score = to_lane(load_element<T>(place_of(i)));
    out[i] = static_cast<std::uint32_t>(count - keys_above(keys + first_key, count, score));
  }
}

}  // namespace

std::vector<std::uint32_t> reached(const Matrix& scores, const Cells& cells, const RankTable& thresholds,
                                   const Runner& runner) {
  std::vector<std::uint32_t> out(static_cast<std::size_t>(cells.count));
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
