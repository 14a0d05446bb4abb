#include "cpu/common_thresholds.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/sort_key.hpp"
#include "cpu/find_nan.hpp"
#include "cpu/known_rows.hpp"
#include "cpu/lane_columns.hpp"

namespace vltr::cpu {
namespace {

constexpr std::int64_t kReadCols = 64;

// Ascending thresholds and an index of them: an entry says how many thresholds are below all of its scores.
//
// The entry of a score rises with the score, so that only thresholds of the same entry are compared with it. It is
// either a part of the range from the lowest to the highest threshold, or the leading bits of the key.
template <class Lane>
class CommonThresholds {
 public:
  using Key = SortKey<Lane>;

  explicit CommonThresholds(const TableColumn<Lane>& thresholds) : count_(thresholds.count()), lanes_(count_ + 2) {
    if (count_ == 0) throw std::invalid_argument("thresholds: expected at least one");
    std::copy(thresholds.begin(), thresholds.end(), lanes_.begin());
    // Nothing reaches a NaN. The highest integer reaches the last two, which reached() corrects.
    lanes_[count_] = lanes_[count_ + 1] = highest();
    lowest_ = ascending_key(lanes_[0]);
    range_ = ascending_key(lanes_[count_ - 1]) - lowest_;
    int bits = 12;
    while (bits < 18 && (std::int64_t{1} << bits) < 2 * count_) ++bits;
    while (range_ >> shift_ >> bits != 0) ++shift_;
    const double of_keys = make_index(static_cast<std::int64_t>(range_ >> shift_) + 1);
    if constexpr (std::is_floating_point_v<Lane>) {
      // Infinite thresholds have the first and the last entry.
      const Lane* const end = lanes_.data() + count_;
      const Lane* first = lanes_.data();
      while (first != end && !std::isfinite(*first)) ++first;
      if (first == end) return;
      const Lane* last = end - 1;
      while (!std::isfinite(*last)) --last;
      origin_ = *first;
      const Lane width = *last - origin_;
      const Lane scale = static_cast<Lane>((std::int64_t{1} << bits) - 1) / width;
      if (of_keys <= 1.5 || !(width > 0) || !std::isfinite(width) || !std::isfinite(scale)) return;
      scale_ = scale;
      is_linear_ = true;
      if (make_index(std::int64_t{1} << bits) < of_keys) return;
      is_linear_ = false;
      make_index(static_cast<std::int64_t>(range_ >> shift_) + 1);
    }
  }

  // The number of thresholds that each score reaches.
  void reached(const Lane* lanes, std::int64_t count, std::uint32_t* out) const {
    if (is_linear_) {
      const Lane most = static_cast<Lane>(begin_.count() - 1);
      for (std::int64_t i = 0; i < count; ++i) out[i] = linear_entry(lanes[i], most);
    } else {
      for (std::int64_t i = 0; i < count; ++i) out[i] = key_entry(lanes[i]);
    }
    // Scores are random, so a branch on them would be mispredicted: two comparisons are always made, and more are rare.
    for (std::int64_t i = 0; i < count; ++i) {
      const Lane lane = lanes[i];
      std::uint32_t found = begin_[out[i]];
      found += lanes_[found] <= lane ? 1u : 0u;
      found += lanes_[found] <= lane ? 1u : 0u;
      if (lanes_[found] <= lane) {
        const Lane* const end = lanes_.data() + count_;
        const std::int64_t all =
            found >= count_ ? count_ : std::upper_bound(lanes_.data() + found, end, lane) - lanes_.data();
        found = static_cast<std::uint32_t>(all);
      }
      out[i] = found;
    }
  }

 private:
  static constexpr Lane highest() {
    return std::is_integral_v<Lane> ? std::numeric_limits<Lane>::max() : std::numeric_limits<Lane>::quiet_NaN();
  }
  static Key ascending_key(Lane lane) { return static_cast<Key>(~sort_key(lane)); }

  // Each step is rounded, and rises with the score all the same. A NaN has the entry 0.
  std::uint32_t linear_entry(Lane lane, Lane most) const {
    const Lane place = std::min(std::max(Lane{0}, (lane - origin_) * scale_), most);
    return static_cast<std::uint32_t>(static_cast<std::int32_t>(place));
  }
  std::uint32_t key_entry(Lane lane) const {
    const Key above = std::max(ascending_key(lane), lowest_) - lowest_;
    return static_cast<std::uint32_t>(std::min(above, range_) >> shift_);
  }

  // Returns the mean over thresholds of those in the same entry.
  double make_index(std::int64_t entries) {
    const Lane most = static_cast<Lane>(entries - 1);
    begin_.assign(entries, 0);
    std::int64_t next = 0;
    double squares = 0.0;
    for (std::int64_t i = 0; i < count_;) {
      const auto entry_of = [&](Lane lane) { return is_linear_ ? linear_entry(lane, most) : key_entry(lane); };
      const std::int64_t entry = entry_of(lanes_[i]);
      for (; next <= entry; ++next) begin_[next] = static_cast<std::uint32_t>(i);
      const std::int64_t first = i;
      while (i < count_ && static_cast<std::int64_t>(entry_of(lanes_[i])) == entry) ++i;
      squares += static_cast<double>(i - first) * static_cast<double>(i - first);
    }
    for (; next < entries; ++next) begin_[next] = static_cast<std::uint32_t>(count_);
    return squares / static_cast<double>(count_);
  }

  std::int64_t count_;
  Array<Lane> lanes_;  // and two that no float reaches
  Array<std::uint32_t> begin_;
  Key lowest_ = 0;
  Key range_ = 0;
  int shift_ = 0;
  Lane origin_ = 0;
  Lane scale_ = 0;
  bool is_linear_ = false;
};

// of_classes: null to count no classes.
template <class T>
CommonCounts count_as(const Matrix& scores, const TableColumn<LaneOf<T>>& thresholds, const std::int64_t* of_classes,
                      bool pooled, const Runner& runner) {
  using Lane = LaneOf<T>;
  const CommonThresholds<Lane> common(thresholds);
  const std::int64_t all = thresholds.count() + 1;
  const std::int64_t width = of_classes == nullptr ? 0 : of_classes[all - 1] + 1;
  Array<std::uint32_t> own(of_classes == nullptr ? 0 : all);
  for (std::int64_t i = 0; i < own.count(); ++i) own[i] = static_cast<std::uint32_t>(of_classes[i]);
  const Array<Tile> tiles = row_tiles(scores, kTileRows);
  const std::int64_t groups = (scores.cols + kReadCols - 1) / kReadCols;
  const KnownRows known_rows(scores);
  const CopyColumns<Lane> copy_columns = copy_columns_kernel<T>();
  struct Worker {
    AlignedLanes<Lane> lanes;
    Array<RowMask> known;
    Array<std::uint32_t> reached;
    Array<std::uint32_t> counts;
    Array<std::int64_t> pooled;
    bool has_nan = false;
  };
  Array<Worker> workers(std::max(runner.threads, 1));
  runner.share(0.0, 0.98).run(tiles.count() * groups, [&](std::int64_t item, int id) {
    Worker& worker = workers[id];
    if (worker.reached.empty()) {
      worker.lanes.resize(kReadCols * kColumnStride);
      worker.reached.resize(kTileRows);
      worker.counts.assign(width * scores.cols, 0);
      worker.pooled.assign(pooled ? all : 0, 0);
    }
    const Tile& tile = tiles[item / groups];
    const std::int64_t first = item % groups * kReadCols;
    const std::int64_t cols = std::min(kReadCols, scores.cols - first);
    worker.has_nan |=
        read_columns(*tile.shard, tile.first_row, tile.rows, first, cols, sizeof(T), copy_columns, worker.lanes.data());
    const RowMask* const known = known_rows.of(tile, first, first + cols, worker.known);
    std::uint32_t* const reached = worker.reached.data();
    for (std::int64_t j = 0; j < cols; ++j) {
      common.reached(worker.lanes.data() + j * kColumnStride, tile.rows, reached);
      std::int64_t rows = tile.rows;
      if (known != nullptr) {
        rows = 0;
        for (std::int64_t row = 0; row < tile.rows; ++row) {
          reached[rows] = reached[row];
          rows += known[j].has(row) ? 1 : 0;
        }
      }
      std::int64_t* const together = worker.pooled.data();
      std::uint32_t* const counts = worker.counts.data() + (first + j) * width;
      const std::uint32_t* const place = own.data();
      if (width == 0) {
        for (std::int64_t i = 0; i < rows; ++i) ++together[reached[i]];
      } else if (!pooled) {
        for (std::int64_t i = 0; i < rows; ++i) ++counts[place[reached[i]]];
      } else {
        for (std::int64_t i = 0; i < rows; ++i) {
          ++together[reached[i]];
          ++counts[place[reached[i]]];
        }
      }
    }
  });
  CommonCounts total{Array<std::int64_t>(width * scores.cols), Array<std::int64_t>(pooled ? all : 0)};
  for (const Worker& worker : workers) {
    if (worker.has_nan) throw_if_nan(scores, runner.share(0.98, 0.98));
    for (std::int64_t i = 0; i < worker.counts.count(); ++i) total.of_classes[i] += worker.counts[i];
    for (std::int64_t i = 0; i < worker.pooled.count(); ++i) total.pooled[i] += worker.pooled[i];
  }
  return total;
}

CommonCounts count_any(const Matrix& scores, const LaneColumn& thresholds, const std::int64_t* of_classes, bool pooled,
                       const Runner& runner) {
  return with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return count_as<T>(scores, std::get<TableColumn<LaneOf<T>>>(thresholds), of_classes, pooled, runner);
  });
}

}  // namespace

Array<std::int64_t> count_at_common(const Matrix& scores, const LaneColumn& thresholds, bool pooled,
                                    const Runner& runner) {
  if (pooled) return count_any(scores, thresholds, nullptr, true, runner).pooled;
  const std::int64_t count = std::visit([](const auto& lanes) { return lanes.count(); }, thresholds);
  Array<std::int64_t> every(count + 1);
  for (std::int64_t i = 0; i <= count; ++i) every[i] = i;
  return count_any(scores, thresholds, every.data(), false, runner).of_classes;
}

CommonCounts count_at_both(const Matrix& scores, const LaneColumn& thresholds, Span<const std::int64_t> of_classes,
                           const Runner& runner) {
  return count_any(scores, thresholds, of_classes.data(), true, runner);
}

}  // namespace vltr::cpu
