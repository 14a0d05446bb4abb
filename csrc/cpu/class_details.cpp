#include "cpu/class_details.hpp"

#include <cmath>
#include <limits>

#include "cpu/find_nan.hpp"
#include "cpu/lane_columns.hpp"
#include "cpu/tile_positives.hpp"

namespace vltr::cpu {
namespace {

constexpr std::int64_t kReadCols = 64;
constexpr std::int64_t kFirstRows = 64;  // of a chunk: they fill its lists, so that few of the others are compared
constexpr std::int64_t kMostChunkRows = 16 * kTileRows;

// Consecutive tiles times a range of classes: the unit of scheduling. Items ascend by rows, then by classes.
struct Item {
  std::int64_t first_tile;
  std::int64_t end_tile;
  std::int64_t first_col;
  std::int64_t end_col;

  std::int64_t cols() const { return end_col - first_col; }
};

// The items of a matrix: enough for the threads, and large enough that merging them takes no time.
struct Work {
  Array<Tile> tiles;
  Array<std::int64_t> first_positive;
  Array<Item> items;
  std::int64_t ranges;
  KnownRows known;

  Work(const Matrix& scores, const Positives& positives, const Runner& runner)
      : tiles(row_tiles(scores, kTileRows)),
        first_positive(first_positives(positives, tiles, runner.share(0.0, 0.02))),
        ranges(col_ranges(scores.cols)),
        known(scores) {
    const std::int64_t share = scores.rows / (4 * std::max(runner.threads, 1));
    const std::int64_t chunk_rows = std::clamp<std::int64_t>(share, kTileRows, kMostChunkRows);
    std::int64_t tile = 0;
    while (tile < tiles.count()) {
      const std::int64_t first = tile;
      for (std::int64_t rows = 0; tile < tiles.count() && rows < chunk_rows; ++tile) rows += tiles[tile].rows;
      for (std::int64_t range = 0; range < ranges; ++range) {
        items.push_back({first, tile, range * kRangeCols, std::min(scores.cols, (range + 1) * kRangeCols)});
      }
    }
  }

  // The positives of a class in a tile: numbers of Positives::rows.
  std::pair<std::int64_t, std::int64_t> positives_in(std::int64_t tile, std::int64_t c, std::int64_t cols) const {
    return {first_positive[tile * cols + c], first_positive[(tile + 1) * cols + c]};
  }
};

// Reads columns of any element type as lanes.
template <class Lane>
struct Reader {
  CopyColumns<Lane> copy_columns;
  std::int64_t element_bytes;
};

// Calls function(reader) with the reader of an element type: the code behind it needs the lane alone.
template <class Function>
auto with_reader(DType dtype, const Function& function) {
  return with_element_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return function(Reader<LaneOf<T>>{copy_columns_kernel<T>(), sizeof(T)});
  });
}

// Calls begin_item(item) before each item, and per_column(item, tile, c, lanes, known, worker) for each class in each
// of its tiles, tile by tile. known: the rows of the tile that the class knows, or null for all. Returns true if a
// score is NaN.
template <class Lane, class BeginItem, class PerColumn>
bool for_each_tile_column(const Reader<Lane>& reader, const Work& work, const Runner& runner,
                          const BeginItem& begin_item, const PerColumn& per_column) {
  struct Worker {
    AlignedLanes<Lane> lanes;
    Array<RowMask> known;
    bool has_nan = false;
  };
  Array<Worker> workers(std::max(runner.threads, 1));
  runner.share(0.02, 0.98).run(work.items.count(), [&](std::int64_t number, int id) {
    Worker& worker = workers[id];
    if (worker.lanes.data() == nullptr) worker.lanes.resize(kReadCols * kColumnStride);
    const Item& item = work.items[number];
    begin_item(number);
    for (std::int64_t t = item.first_tile; t < item.end_tile; ++t) {
      const Tile& tile = work.tiles[t];
      for (std::int64_t col = item.first_col; col < item.end_col; col += kReadCols) {
        const std::int64_t cols = std::min(kReadCols, item.end_col - col);
        worker.has_nan |= read_columns(*tile.shard, tile.first_row, tile.rows, col, cols, reader.element_bytes,
                                       reader.copy_columns, worker.lanes.data());
        const RowMask* const known = work.known.of(tile, col, col + cols, worker.known);
        for (std::int64_t j = 0; j < cols; ++j) {
          per_column(number, t, col + j, worker.lanes.data() + j * kColumnStride,
                     known == nullptr ? nullptr : known + j, id);
        }
      }
    }
  });
  return std::any_of(workers.begin(), workers.end(), [](const Worker& worker) { return worker.has_nan; });
}

// A list of at most `limit` rows by their scores, the first in the order `Before` first. Rows must come in ascending
// order, so that the smaller one of equals stays before the others.
template <class Lane, class Before>
struct RowList {
  Lane* score;
  std::int64_t* row;
  std::int64_t* count;
  std::int64_t limit;

  bool full() const { return *count == limit; }
  Lane last() const { return score[limit - 1]; }
  void add(Lane lane, std::int64_t number) const {
    if (full() && !Before()(lane, last())) return;
    std::int64_t place = full() ? limit - 1 : (*count)++;
    for (; place > 0 && Before()(lane, score[place - 1]); --place) {
      score[place] = score[place - 1];
      row[place] = row[place - 1];
    }
    score[place] = lane;
    row[place] = number;
  }
};

// The lists of the classes of an item.
template <class Lane, class Before>
struct RowLists {
  std::int64_t limit = 0;
  Array<Lane> score;
  Array<std::int64_t> row;
  Array<std::int64_t> count;

  void resize(std::int64_t classes, std::int64_t most) {
    limit = most;
    score.assign(classes * most, Lane{0});
    row.assign(classes * most, kNoRow);
    count.assign(classes, 0);
  }
  RowList<Lane, Before> list(std::int64_t c) {
    return {score.data() + c * limit, row.data() + c * limit, count.data() + c, limit};
  }
  void merge(std::int64_t c, RowLists& later, std::int64_t of_later) {
    const RowList<Lane, Before> own = list(c);
    const RowList<Lane, Before> other = later.list(of_later);
    for (std::int64_t i = 0; i < *other.count; ++i) own.add(other.score[i], other.row[i]);
  }
};

template <class Lane>
struct Range {
  static constexpr bool kCanBeInfinite = std::numeric_limits<Lane>::has_infinity;
  Lane low = kCanBeInfinite ? std::numeric_limits<Lane>::infinity() : std::numeric_limits<Lane>::max();
  Lane high = kCanBeInfinite ? -std::numeric_limits<Lane>::infinity() : std::numeric_limits<Lane>::min();

  void add(Lane lowest, Lane highest) {
    low = std::min(low, lowest);
    high = std::max(high, highest);
  }
  // Adds the finite ones among lanes of which some are infinite.
  void add_finite(const Lane* lanes, std::int64_t rows) {
    for (std::int64_t row = 0; row < rows; ++row) {
      if (lanes[row] - lanes[row] == Lane{0}) add(lanes[row], lanes[row]);
    }
  }
  bool is_empty() const { return low > high; }
};

template <class Lane>
struct Extremes {
  Array<Range<Lane>> range;
  RowLists<Lane, std::less<Lane>> missed;
  RowLists<Lane, std::greater<Lane>> wrong;

  void resize(std::int64_t classes, std::int64_t limit) {
    range.assign(classes, Range<Lane>());
    missed.resize(classes, limit);
    wrong.resize(classes, limit);
  }
};

template <class Lane>
class ExtremesSearch {
 public:
  ExtremesSearch(const Reader<Lane>& reader, const Matrix& scores, const Positives& positives, std::int64_t limit,
                 const Runner& runner)
      : reader_(reader),
        scores_(scores),
        positives_(positives),
        limit_(limit),
        runner_(runner),
        work_(scores, positives, runner) {}

  ClassExtremes operator()() {
    parts_.resize(work_.items.count());
    found_.resize(std::max(runner_.threads, 1));
    known_lanes_.resize(std::max(runner_.threads, 1));
    const bool has_nan = for_each_tile_column(
        reader_, work_, runner_, [this](std::int64_t item) { parts_[item].resize(work_.items[item].cols(), limit_); },
        [this](std::int64_t item, std::int64_t tile, std::int64_t c, const Lane* lanes, const RowMask* known, int id) {
          add_column(item, tile, c, lanes, known, id);
        });
    if (has_nan) throw_if_nan(scores_, runner_.share(0.98, 0.98));
    return merge();
  }

 private:
  void add_range(const Lane* lanes, std::int64_t rows, Range<Lane>& range) const {
    if (rows == 0) return;
    Lane low;
    Lane high;
    lane_range_(lanes, rows, low, high);
    if (is_finite(low) && is_finite(high)) {
      range.add(low, high);
    } else {
      range.add_finite(lanes, rows);
    }
  }

  // Copies the lanes of known rows. Returns their number.
  static std::int64_t copy_known(const Lane* lanes, std::int64_t rows, const RowMask& known, Array<Lane>& to) {
    if (to.empty()) to.resize(kTileRows + 1);
    std::int64_t count = 0;
    for (std::int64_t row = 0; row < rows; row += 16) {
      const std::uint32_t block = known.block[row / 16];
      if (block == 0xFFFFu) {
        std::copy(lanes + row, lanes + row + 16, to.data() + count);
        count += 16;
      } else if (block != 0) {
        // Without branches, which would be mispredicted. The last block has no lanes after the last row.
        const std::int64_t end = std::min<std::int64_t>(16, rows - row);
        for (std::int64_t i = 0; i < end; ++i) {
          to[count] = lanes[row + i];
          count += block >> i & 1;
        }
      }
    }
    return count;
  }

  void add_column(std::int64_t item, std::int64_t t, std::int64_t c, const Lane* lanes, const RowMask* known, int id) {
    Array<std::uint32_t>& found = found_[id];
    Extremes<Lane>& part = parts_[item];
    const std::int64_t own = c - work_.items[item].first_col;
    const Tile& tile = work_.tiles[t];
    if (known == nullptr) {
      add_range(lanes, tile.rows, part.range[own]);
    } else {
      const std::int64_t rows = copy_known(lanes, tile.rows, *known, known_lanes_[id]);
      add_range(known_lanes_[id].data(), rows, part.range[own]);
    }

    const auto [begin, end] = work_.positives_in(t, c, scores_.cols);
    const std::uint32_t* positive = positives_.rows.data() + begin;
    const std::uint32_t* const end_positive = positives_.rows.data() + end;
    const auto missed = part.missed.list(own);
    for (const std::uint32_t* p = positive; p != end_positive; ++p) missed.add(lanes[*p - tile.first_row], *p);

    const auto wrong = part.wrong.list(own);
    const auto add_negative = [&](std::int64_t row) {
      if (known != nullptr && !known->has(row)) return;
      const std::int64_t number = tile.first_row + row;
      while (positive != end_positive && *positive < number) ++positive;
      if (positive == end_positive || *positive != number) wrong.add(lanes[row], number);
    };
    std::int64_t row = 0;
    while (row < tile.rows && (row < kFirstRows * (t == work_.items[item].first_tile) || !wrong.full())) {
      add_negative(row++);
    }
    if (row == tile.rows) return;
    if (found.empty()) found.resize(kTileRows);
    const std::int64_t count = greater_rows_(lanes, row, tile.rows, wrong.last(), found.data());
    for (std::int64_t i = 0; i < count; ++i) {
      if (lanes[found[i]] > wrong.last()) add_negative(found[i]);
    }
  }

  static bool is_finite(Lane lane) { return lane - lane == Lane{0}; }

  ClassExtremes merge() {
    const std::int64_t cols = scores_.cols;
    TableColumn<Lane> low(cols);
    TableColumn<Lane> high(cols);
    RowLists<Lane, std::less<Lane>> missed;
    RowLists<Lane, std::greater<Lane>> wrong;
    missed.resize(cols, limit_);
    wrong.resize(cols, limit_);
    runner_.share(0.98, 1.0).run(work_.ranges, [&](std::int64_t range, int) {
      for (std::int64_t c = work_.items[range].first_col; c < work_.items[range].end_col; ++c) {
        Range<Lane> all;
        for (std::int64_t item = range; item < work_.items.count(); item += work_.ranges) {
          Extremes<Lane>& part = parts_[item];
          const std::int64_t own = c - work_.items[item].first_col;
          if (!part.range[own].is_empty()) all.add(part.range[own].low, part.range[own].high);
          missed.merge(c, part.missed, own);
          wrong.merge(c, part.wrong, own);
        }
        // Minus zero becomes zero, because the order of rows decides which of them is found.
        low[c] = all.is_empty() ? Lane{0} : all.low + Lane{0};
        high[c] = all.is_empty() ? Lane{0} : all.high + Lane{0};
      }
    });
    return {std::move(low),        std::move(high),
            std::move(missed.row), TableColumn<Lane>(missed.score.begin(), missed.score.end()),
            std::move(wrong.row),  TableColumn<Lane>(wrong.score.begin(), wrong.score.end())};
  }

  const Reader<Lane> reader_;
  const Matrix& scores_;
  const Positives& positives_;
  const std::int64_t limit_;
  const Runner& runner_;
  const Work work_;
  Array<Extremes<Lane>> parts_;
  Array<Array<std::uint32_t>> found_;
  Array<Array<Lane>> known_lanes_;
  const LaneRange<Lane> lane_range_ = lane_range_kernel<Lane>();
  const GreaterRows<Lane> greater_rows_ = greater_rows_kernel<Lane>();
};

template <class Lane>
BinScale bin_scale(Lane low, Lane high, std::int64_t bins) {
  const auto count = static_cast<double>(bins);
  BinScale scale{1.0, static_cast<double>(low), 1.0, count - 1.0, 0};
  if constexpr (std::is_integral_v<Lane>) {
    scale.lowest = low;
    if (low < high)
      scale.scale = count / static_cast<double>(static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low));
  } else {
    if (!(low < high)) return scale;
    const auto first = static_cast<double>(low);
    const auto last = static_cast<double>(high);
    if (!std::isfinite(last - first)) scale.unit = 0x1p-2;
    if (!std::isfinite(count / (last - first))) scale.unit = 0x1p600;
    scale.low = first * scale.unit;
    scale.scale = count / (last * scale.unit - scale.low);
  }
  return scale;
}

template <class Lane>
ScoreHistograms count_scores(const Reader<Lane>& reader, const Matrix& scores, const Positives& positives,
                             const LaneColumn& low, const LaneColumn& high, std::int64_t bins, const Runner& runner) {
  const auto& lowest = std::get<TableColumn<Lane>>(low);
  const auto& highest = std::get<TableColumn<Lane>>(high);
  const Work work(scores, positives, runner);
  const CountBins<Lane> count_bins = count_bins_kernel<Lane>();
  struct Counts {
    Array<std::uint32_t> all;
    Array<std::uint32_t> positives;
  };
  Array<Counts> parts(work.items.count());
  Array<Array<std::uint32_t>> scratch(std::max(runner.threads, 1));
  Array<BinScale> scale(scores.cols);
  for (std::int64_t c = 0; c < scores.cols; ++c) scale[c] = bin_scale(lowest[c], highest[c], bins);
  for_each_tile_column(
      reader, work, runner,
      [&](std::int64_t item) {
        parts[item].all.assign(work.items[item].cols() * bins, 0);
        parts[item].positives.assign(work.items[item].cols() * bins, 0);
      },
      [&](std::int64_t item, std::int64_t t, std::int64_t c, const Lane* lanes, const RowMask* known, int id) {
        const std::int64_t own = (c - work.items[item].first_col) * bins;
        const Tile& tile = work.tiles[t];
        Array<std::uint32_t>& bin_of = scratch[id];
        if (bin_of.empty()) bin_of.resize(kTileRows);
        count_bins(lanes, tile.rows, scale[c], bin_of.data(), parts[item].all.data() + own);
        for (std::int64_t row = 0; known != nullptr && row < tile.rows; row += 16) {
          const std::uint32_t valid = tile.rows - row < 16 ? (1u << (tile.rows - row)) - 1u : 0xFFFFu;
          for (std::uint32_t left = ~known->block[row / 16] & valid; left != 0; left &= left - 1) {
            --parts[item].all[own + bin_of[row + __builtin_ctz(left)]];
          }
        }
        const auto [begin, end] = work.positives_in(t, c, scores.cols);
        for (std::int64_t p = begin; p < end; ++p) {
          ++parts[item].positives[own + bin_of[positives.rows[p] - tile.first_row]];
        }
      });

  ScoreHistograms found;
  found.positives.assign(scores.cols * bins, 0);
  found.negatives.assign(scores.cols * bins, 0);
  runner.share(0.98, 1.0).run(work.ranges, [&](std::int64_t range, int) {
    const std::int64_t first = work.items[range].first_col * bins;
    for (std::int64_t item = range; item < work.items.count(); item += work.ranges) {
      const Counts& part = parts[item];
      for (std::int64_t i = 0; i < part.all.count(); ++i) {
        found.positives[first + i] += part.positives[i];
        found.negatives[first + i] += part.all[i] - part.positives[i];
      }
    }
  });
  return found;
}

}  // namespace

ClassExtremes class_extremes(const Matrix& scores, const Positives& positives, std::int64_t limit,
                             const Runner& runner) {
  return with_reader(scores.dtype,
                     [&](const auto& reader) { return ExtremesSearch(reader, scores, positives, limit, runner)(); });
}

ScoreHistograms score_histograms(const Matrix& scores, const Positives& positives, const LaneColumn& low,
                                 const LaneColumn& high, std::int64_t bins, const Runner& runner) {
  return with_reader(scores.dtype, [&](const auto& reader) {
    return count_scores(reader, scores, positives, low, high, bins, runner);
  });
}

}  // namespace vltr::cpu
