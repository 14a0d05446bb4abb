#include "cpu/common_thresholds.hpp"

#include <algorithm>
#include <limits>

#include "core/sort_key.hpp"
#include "cpu/find_nan.hpp"
#include "cpu/known_rows.hpp"
#include "cpu/lane_columns.hpp"

namespace vltr::cpu {
namespace {

constexpr std::int64_t kReadCols = 64;

// Ascending thresholds and an index of them: keys that agree in their leading bits share an entry of the index.
template <class Lane>
class CommonThresholds {
 public:
  using Key = SortKey<Lane>;

  explicit CommonThresholds(const TableColumn<Lane>& thresholds)
      : count_(thresholds.count()), keys_(count_ + 2, std::numeric_limits<Key>::max()) {
    for (std::int64_t i = 0; i < count_; ++i) keys_[i] = ascending_key(thresholds[i]);
    if (count_ == 0) return;
    range_ = keys_[count_ - 1] - keys_[0];
    // Few thresholds in each entry, and no more entries than an L2 cache holds.
    for (int bits = 12; bits <= 18 && build(bits) > 2; ++bits) {
    }
  }

  // The number of thresholds that a score reaches. Scores are random, so a branch on them would be mispredicted: two
  // comparisons are always made, and more are rare.
  std::int64_t reached(Lane lane) const {
    const Key key = ascending_key(lane);
    const Key lowest = keys_[0];
    const Key not_below = std::max(key, lowest);
    const Key above = std::min<Key>(not_below - lowest, range_);
    std::uint32_t found = begin_[static_cast<std::int64_t>(above >> shift_)];
    found += keys_[found] <= key ? 1u : 0u;
    found += keys_[found] <= key ? 1u : 0u;
    if (keys_[found] > key) return found;
    if (found >= count_) return count_;  // the highest integer, which reaches the keys after the last
    return std::upper_bound(keys_.begin() + found, keys_.begin() + count_, key) - keys_.begin();
  }
  bool empty() const { return count_ == 0; }

 private:
  // Makes an index of at most 2^bits entries. Returns the most thresholds that an entry has.
  std::int64_t build(int bits) {
    shift_ = 0;
    while (range_ >> shift_ >> bits != 0) ++shift_;
    begin_.resize(static_cast<std::int64_t>(range_ >> shift_) + 1);
    std::int64_t next = 0;
    std::int64_t most = 0;
    for (std::int64_t entry = 0; entry < begin_.count(); ++entry) {
      begin_[entry] = static_cast<std::uint32_t>(next);
      const std::int64_t first = next;
      while (next < count_ && static_cast<std::int64_t>((keys_[next] - keys_[0]) >> shift_) == entry) ++next;
      most = std::max(most, next - first);
    }
    return most;
  }
  static Key ascending_key(Lane lane) { return static_cast<Key>(~sort_key(lane)); }

  std::int64_t count_;
  Array<Key> keys_;             // and two that only the highest integer reaches
  Array<std::uint32_t> begin_;  // of each entry: the thresholds in the entries before it
  Key range_ = 0;
  int shift_ = 0;
};

// Count: a type that holds the rows of a class, or all cells if these are pooled.
template <class Count, class T>
Array<std::int64_t> count_as(const Matrix& scores, const TableColumn<LaneOf<T>>& thresholds, bool pooled,
                             const Runner& runner) {
  using Lane = LaneOf<T>;
  const CommonThresholds<Lane> common(thresholds);
  const std::int64_t width = thresholds.count() + 1;
  if (common.empty()) throw std::invalid_argument("thresholds: expected at least one");
  const Array<Tile> tiles = row_tiles(scores, kTileRows);
  const std::int64_t groups = (scores.cols + kReadCols - 1) / kReadCols;
  const KnownRows known_rows(scores);
  const CopyColumns<Lane> copy_columns = copy_columns_kernel<T>();
  struct Worker {
    AlignedLanes<Lane> lanes;
    Array<RowMask> known;
    Array<Count> counts;
    bool has_nan = false;
  };
  Array<Worker> workers(std::max(runner.threads, 1));
  runner.share(0.0, 0.98).run(tiles.count() * groups, [&](std::int64_t item, int id) {
    Worker& worker = workers[id];
    if (worker.counts.empty()) {
      worker.lanes.resize(kReadCols * kColumnStride);
      worker.counts.assign(pooled ? width : width * scores.cols, 0);
    }
    const Tile& tile = tiles[item / groups];
    const std::int64_t first = item % groups * kReadCols;
    const std::int64_t cols = std::min(kReadCols, scores.cols - first);
    worker.has_nan |=
        read_columns(*tile.shard, tile.first_row, tile.rows, first, cols, sizeof(T), copy_columns, worker.lanes.data());
    const RowMask* const known = known_rows.of(tile, first, first + cols, worker.known);
    for (std::int64_t j = 0; j < cols; ++j) {
      const Lane* const lanes = worker.lanes.data() + j * kColumnStride;
      Count* const counts = worker.counts.data() + (pooled ? 0 : (first + j) * width);
      if (known == nullptr) {
        for (std::int64_t row = 0; row < tile.rows; ++row) ++counts[common.reached(lanes[row])];
      } else {
        for (std::int64_t row = 0; row < tile.rows; ++row) counts[common.reached(lanes[row])] += known[j].has(row);
      }
    }
  });
  Array<std::int64_t> total(pooled ? width : width * scores.cols);
  for (const Worker& worker : workers) {
    if (worker.has_nan) throw_if_nan(scores, runner.share(0.98, 0.98));
    for (std::int64_t i = 0; i < worker.counts.count(); ++i) total[i] += worker.counts[i];
  }
  return total;
}

}  // namespace

Array<std::int64_t> count_at_common(const Matrix& scores, const LaneColumn& thresholds, bool pooled,
                                    const Runner& runner) {
  return with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto& lanes = std::get<TableColumn<LaneOf<T>>>(thresholds);
    return pooled ? count_as<std::int64_t, T>(scores, lanes, true, runner)
                  : count_as<std::uint32_t, T>(scores, lanes, false, runner);
  });
}

}  // namespace vltr::cpu
