#include "cpu/bootstrap.hpp"

#include <cstring>

#include "cpu/bootstrap_lists.hpp"
#include "cpu/bootstrap_replicates.hpp"
#include "cpu/find_nan.hpp"
#include "cpu/rank_scan.hpp"

namespace vltr::cpu {
namespace {

// Shares of kBootstrapBytes: the weights, the lists and the rank table of the classes that are processed together.
constexpr std::int64_t kWeightBytes = std::int64_t{64} << 20;
constexpr std::int64_t kListBytes = std::int64_t{32} << 20;
constexpr std::int64_t kTableBytes = std::int64_t{24} << 20;
constexpr std::int64_t kBytesPerPositive = 128;  // of a table, while it is made, with its search trees

constexpr std::int64_t kDrawnBytes = std::int64_t{1} << 20;  // of multinomial replicates, for each worker

constexpr std::int64_t kUnitsPerItem = 1024;
constexpr std::int64_t kRowsPerItem = 4096;
constexpr std::int64_t kClassesPerItem = 8;  // results of a replicate: one cache line, which no other thread writes

std::int64_t items_of(std::int64_t count, std::int64_t per_item) { return (count + per_item - 1) / per_item; }

// Writes the weights of one replicate.
void draw_multinomial(std::uint64_t seed, std::int64_t replicate, std::int64_t units, std::uint8_t* weights) {
  std::memset(weights, 0, static_cast<std::size_t>(units));
  const auto add = [&](std::uint32_t unit) {
    weights[unit] = static_cast<std::uint8_t>(weights[unit] + (weights[unit] != 255));  // 256 draws: below 1e-500
  };
  for (std::int64_t draw = 0; draw < units; draw += 2) {
    const DrawnUnits drawn = drawn_units(seed, static_cast<std::uint32_t>(replicate),
                                         static_cast<std::uint32_t>(draw / 2), static_cast<std::uint32_t>(units));
    add(drawn.unit[0]);
    if (draw + 1 < units) add(drawn.unit[1]);
  }
}

// The weights of some blocks of replicates, and the sums over all rows that no class changes.
class BlockWeights {
 public:
  BlockWeights(std::int64_t rows, const Units& units, const BootstrapRequest& request, int lanes, std::int64_t blocks)
      : rows_(rows), units_(units), request_(request), lanes_(lanes) {
    weights_.resize(units.count * lanes * blocks);
    total_.resize(blocks * lanes);
    rows_per_byte_.assign(blocks, 255 / kMostPoissonWeight);
  }

  int lanes() const { return lanes_; }
  std::int64_t first_replicate(std::int64_t block) const { return (first_block_ + block) * lanes_; }
  WeightBlock block(std::int64_t b) const {
    return {weights_.data() + b * units_.count * lanes_, lanes_, rows_per_byte_[b]};
  }
  const double* total(std::int64_t b) const { return total_.data() + b * lanes_; }

  // Draws the blocks first_block to first_block + blocks - 1, and writes Acc@k of all rows for them.
  void draw(std::int64_t first_block, std::int64_t blocks, double* accuracy, const Runner& runner) {
    first_block_ = first_block;
    const std::int64_t bytes = units_.count * lanes_ * blocks;
    const double drawing = static_cast<double>(bytes) * (request_.method == Resampling::kPoisson ? 1.0 : 8.0);
    const Phases phases(runner, {drawing, 0.2 * static_cast<double>(rows_ * lanes_ * blocks)});
    if (request_.method == Resampling::kPoisson) {
      const std::int64_t items = items_of(units_.count, kUnitsPerItem);
      phases.phase(0).run(items * blocks, [&](std::int64_t item, int) {
        const std::int64_t unit = item % items * kUnitsPerItem;
        const std::int64_t b = item / items;
        draw_poisson_(request_.seed, static_cast<std::uint32_t>(first_replicate(b) / 4), lanes_, unit,
                      std::min(kUnitsPerItem, units_.count - unit), mutable_block(b) + unit * lanes_);
      });
    } else {
      // A replicate is drawn to memory of its own, which fits in the cache, and then spread over the rows of a block.
      const std::int64_t fitting = std::clamp<std::int64_t>(kDrawnBytes / units_.count, 1, 16);
      Array<Array<std::uint8_t>> scratch(std::max(runner.threads, 1));
      const std::int64_t per_block = items_of(lanes_, fitting);
      phases.phase(0).run(blocks * per_block, [&](std::int64_t item, int id) {
        const std::int64_t b = item / per_block;
        const std::int64_t first = item % per_block * fitting;
        const std::int64_t count = std::min(fitting, lanes_ - first);
        scratch[id].resize(fitting * units_.count);
        std::uint8_t* const drawn = scratch[id].data();
        for (std::int64_t i = 0; i < count; ++i) {
          draw_multinomial(request_.seed, first_replicate(b) + first + i, units_.count, drawn + i * units_.count);
        }
        std::uint8_t* const weights = mutable_block(b) + first;
        for (std::int64_t unit = 0; unit < units_.count; ++unit) {
          for (std::int64_t i = 0; i < count; ++i) weights[unit * lanes_ + i] = drawn[i * units_.count + unit];
        }
      });
      find_largest(blocks, phases.phase(1));
    }
    sum_rows(blocks, accuracy, phases.phase(1));
  }

 private:
  std::uint8_t* mutable_block(std::int64_t b) { return weights_.data() + b * units_.count * lanes_; }

  void find_largest(std::int64_t blocks, const Runner& runner) {
    runner.run(blocks, [&](std::int64_t b, int) {
      const std::uint8_t* const weights = mutable_block(b);
      std::uint8_t largest = 1;
      for (std::int64_t i = 0; i < units_.count * lanes_; ++i) largest = std::max(largest, weights[i]);
      rows_per_byte_[b] = 255 / largest;
    });
  }

  // The sums over all rows, over those with a label, and over the hits at each k.
  void sum_rows(std::int64_t blocks, double* accuracy, const Runner& runner) {
    const std::int64_t items = items_of(rows_, kRowsPerItem);
    const std::int64_t kinds = request_.topk.size() == 0 ? 1 : 2 + request_.topk.size();
    constexpr std::int64_t kItemsAtOnce = 256;  // bounds the sums of items
    Array<std::uint32_t> sums(std::min(items, kItemsAtOnce) * kinds * lanes_);
    Array<double> all(kinds * lanes_);
    for (std::int64_t b = 0; b < blocks; ++b) {
      std::fill(all.begin(), all.end(), 0.0);
      for (std::int64_t first = 0; first < items; first += kItemsAtOnce) {
        const std::int64_t count = std::min(kItemsAtOnce, items - first);
        runner.run(count, [&](std::int64_t item, int) {
          sum_rows_of_item(b, (first + item) * kRowsPerItem, kinds, sums.data() + item * kinds * lanes_);
        });
        for (std::int64_t item = 0; item < count; ++item) {
          for (std::int64_t i = 0; i < kinds * lanes_; ++i) all[i] += sums[item * kinds * lanes_ + i];
        }
      }
      std::copy(all.begin(), all.begin() + lanes_, total_.begin() + b * lanes_);
      const std::int64_t replicates = std::min<std::int64_t>(lanes_, request_.replicates - first_replicate(b));
      for (std::int64_t k = 0; k < request_.topk.size(); ++k) {
        for (std::int64_t i = 0; i < replicates; ++i) {
          const double labelled = all[lanes_ + i];
          accuracy[k * request_.replicates + first_replicate(b) + i] =
              labelled == 0.0 ? undefined() : all[(2 + k) * lanes_ + i] / labelled;
        }
      }
    }
  }

  void sum_rows_of_item(std::int64_t b, std::int64_t first_row, std::int64_t kinds, std::uint32_t* sums) const {
    std::uint32_t listed[kRowsPerItem];
    const std::int64_t end_row = std::min(rows_, first_row + kRowsPerItem);
    for (std::int64_t kind = 0; kind < kinds; ++kind) {
      std::int64_t count = 0;
      for (std::int64_t row = first_row; row < end_row; ++row) {
        listed[count] = units_.of_row == nullptr ? static_cast<std::uint32_t>(row) : units_.of_row[row];
        count +=
            kind == 0 || (request_.ranks[row] >= 0 && (kind == 1 || request_.ranks[row] < request_.topk[kind - 2]));
      }
      sum_units_(block(b), listed, count, sums + kind * lanes_);
    }
  }

  const std::int64_t rows_;
  const Units& units_;
  const BootstrapRequest& request_;
  const int lanes_;
  std::int64_t first_block_ = 0;
  LargeArray<std::uint8_t> weights_;  // (blocks, units, lanes)
  Array<double> total_;               // (blocks, lanes)
  Array<int> rows_per_byte_;
  const DrawPoisson draw_poisson_ = draw_poisson_kernel();
  const SumUnits sum_units_ = sum_units_kernel();
};

// Adjacent classes, first to end - 1.
struct ClassRange {
  std::int64_t first;
  std::int64_t end;
  std::int64_t count() const { return end - first; }
};

// Splits classes into ranges of at most `most` bytes, or of one class.
template <class BytesOf>
Array<ClassRange> split_classes(std::int64_t first, std::int64_t end, std::int64_t most, const BytesOf& bytes_of) {
  Array<ClassRange> ranges;
  std::int64_t bytes = 0;
  for (std::int64_t c = first; c < end; ++c) {
    const std::int64_t of_class = bytes_of(c);
    if (ranges.empty() || bytes + of_class > most) {
      ranges.push_back({c, c});
      bytes = 0;
    }
    bytes += of_class;
    ranges.back().end = c + 1;
  }
  return ranges;
}

// A class range of scores and positives as a matrix of its own. Class 0 is the first of the range.
struct ClassView {
  Matrix scores;
  UnknownCells unknown;
  Offsets offset;
  Positives positives;

  ClassView(const ClassView&) = delete;  // `scores` has the address of `unknown`
  ClassView& operator=(const ClassView&) = delete;
  ClassView(const Matrix& all, const Positives& of_all, const ClassRange& range) : scores(all) {
    scores.cols = range.count();
    for (Shard& shard : scores.shards) shard.data += range.first * shard.col_stride;
    if (all.unknown != nullptr) {
      unknown = all.unknown->of_classes(range.first, range.end);
      scores.unknown = &unknown;
    }
    const std::int64_t before = of_all.offset[range.first];
    for (std::int64_t c = range.first; c <= range.end; ++c) offset.push_back(of_all.offset[c] - before);
    positives = Positives({offset.data(), offset.count()}, {of_all.rows.data() + before, offset.back()});
  }
};

// The rows of a class range by bucket, as units, and its positives by threshold.
class UnitLists {
 public:
  // table: of all classes of the view.
  template <class T>
  void make(const ClassView& view, const RankTable& table, const ClassRange& range, const Units& units,
            const Runner& runner) {
    using Lane = LaneOf<T>;
    const std::int64_t classes = view.scores.cols;
    Array<std::int64_t> listed;
    for (std::int64_t c = range.first; c < range.end; ++c) listed.push_back(c);
    const Thresholds<Lane> thresholds = thresholds_of<Lane>(table, listed);
    Array<Lane> lowest = thresholds.lowest;
    while (lowest.count() < classes + 16) lowest.push_back(unreachable<Lane>());
    begin_.assign(1, 0);
    Array<std::int64_t> next_offset(classes);
    Array<std::int64_t> next;
    for (std::int64_t c = 0; c < classes; ++c) {
      next_offset[c] = next.count();
      begin_.push_back(begin_.back());
      const std::int64_t keys = thresholds.count(c);
      if (keys == 0) continue;
      const std::int64_t first = table.offset.first(c);
      next.resize(next.count() + 2 * keys);
      std::int64_t* const of_class = next.data() + next_offset[c];
      std::int64_t reached = 0;
      for (std::int64_t k = 0; k < keys; ++k) {
        const std::int64_t rows = table.tp[first + k] + table.fp[first + k];
        const std::int64_t equal = table.tied[first + k] + table.tp[first + k] - (k == 0 ? 0 : table.tp[first + k - 1]);
        of_class[2 * (keys - 1 - k) + 1] = begin_[c] + reached;
        of_class[2 * (keys - 1 - k)] = begin_[c] + rows - equal;
        reached = rows;
      }
      begin_[c + 1] += reached;
    }
    const Array<std::int64_t> starts = next;
    units_.resize(begin_.back());
    const ListPlan<Lane> plan{&thresholds,        lowest.data(), units.of_row,  begin_.data(),
                              next_offset.data(), next.data(),   units_.data(), KnownRows(view.scores)};
    const ListTile<Lane> list_tile = list_tile_kernel<T>();
    const Array<Tile> tiles = row_tiles(view.scores, kTileRows);
    const std::int64_t share = items_of(range.count(), 2 * std::int64_t{runner.threads});
    const std::int64_t width = std::clamp<std::int64_t>(items_of(share, 16) * 16, 16, kStripCols);
    Array<ListWorker<Lane>> workers(std::max(runner.threads, 1));
    constexpr std::int64_t kTilesAtOnce = 64;  // so that an item is short
    for (std::int64_t first = 0; first < tiles.count(); first += kTilesAtOnce) {
      const std::int64_t end = std::min(tiles.count(), first + kTilesAtOnce);
      const auto part = [&](std::int64_t tile) {
        return static_cast<double>(tile) / static_cast<double>(tiles.count());
      };
      runner.share(0.9 * part(first), 0.9 * part(end)).run(items_of(range.count(), width), [&](auto item, int id) {
        ListWorker<Lane>& worker = workers[id];
        if (worker.survivors.data() == nullptr) {
          worker.survivors.resize(kStripCols * (kTileRows + 16));
          worker.rows.resize(kStripCols * (kTileRows + 16));
        }
        const std::int64_t first_col = range.first + item * width;
        const std::int64_t cols = std::min(width, range.end - first_col);
        for (std::int64_t i = first; i < end; ++i) list_tile(plan, tiles[i], first_col, cols, worker);
      });
    }
    list_positives<Lane>(view, thresholds, range, units, runner.share(0.9, 1.0));
    check_full(table, range, next_offset, next, starts);
  }

  const std::uint32_t* units(std::int64_t c) const { return units_.data() + begin_.first(c); }
  const std::uint32_t* positives(const ClassView& view, std::int64_t c) const {
    return positives_.data() + (view.offset[c] - first_positive_);
  }

 private:
  // Throws unless each bucket got as many rows as the table counts.
  static void check_full(const RankTable& table, const ClassRange& range, const Array<std::int64_t>& next_offset,
                         const Array<std::int64_t>& next, const Array<std::int64_t>& starts) {
    for (std::int64_t c = range.first; c < range.end; ++c) {
      const std::int64_t keys = table.offset.length(c);
      const std::int64_t* const filled = next.data() + next_offset[c];
      const std::int64_t* const start = starts.data() + next_offset[c];
      for (std::int64_t bucket = 0; bucket < 2 * keys; ++bucket) {
        // The lists descend: after a bucket comes the one before it.
        if (bucket > 0 && filled[bucket] != start[bucket - 1]) throw ScoresChanged();
      }
    }
  }

  // Counting sort of the positives of each class by their thresholds.
  template <class Lane>
  void list_positives(const ClassView& view, const Thresholds<Lane>& thresholds, const ClassRange& range,
                      const Units& units, const Runner& runner) {
    const ClassView part(view.scores, view.positives, range);
    const Array<Lane> scores = positive_scores<Lane>(part.scores, part.positives, runner);
    first_positive_ = view.offset[range.first];
    positives_.resize(scores.count());
    Array<std::int64_t> next;
    for (std::int64_t c = range.first; c < range.end; ++c) {
      const std::int64_t keys = thresholds.count(c);
      const Lane* const key = thresholds.keys.data() + thresholds.offset.first(c);
      const std::int64_t first = view.offset[c] - first_positive_;
      const std::int64_t end = view.offset[c + 1] - first_positive_;
      next.assign(keys + 1, 0);
      // The number of thresholds above a score.
      const auto above = [&](std::int64_t i) {
        return keys - 1 - std::min(keys - 1, std::lower_bound(key, key + keys, scores[i]) - key);
      };
      for (std::int64_t i = first; i < end; ++i) ++next[above(i) + 1];
      for (std::int64_t k = 1; k <= keys; ++k) next[k] += next[k - 1];
      for (std::int64_t i = first; i < end; ++i) {
        const std::uint32_t row = part.positives.rows[i];
        positives_[first + next[above(i)]++] = units.of_row == nullptr ? row : units.of_row[row];
      }
    }
  }

  Offsets begin_;  // (classes + 1) of the view
  LargeArray<std::uint32_t> units_;
  Array<std::uint32_t> positives_;
  std::int64_t first_positive_ = 0;
};

class Bootstrap {
 public:
  Bootstrap(const Matrix& scores, const Positives& positives, const Units& units, const BootstrapRequest& request,
            const Runner& runner)
      : scores_(scores), positives_(positives), units_(units), request_(request), runner_(runner) {
    const std::int64_t cells = request.replicates * scores.cols;
    if (request.average_precision) result_.average_precision.resize(cells);
    if (request.roc_auc) result_.roc_auc.resize(cells);
    if (request.expected_sap) result_.expected_sap.resize(cells);
    result_.class_accuracy.resize(request.topk.size() * cells);
    result_.accuracy.resize(request.topk.size() * request.replicates);
  }

  BootstrapResult run() {
    const int lanes = lanes_of_block();
    const std::int64_t blocks = items_of(request_.replicates, lanes);
    const std::int64_t at_once = std::clamp<std::int64_t>(kWeightBytes / (units_.count * lanes), 1, blocks);
    BlockWeights weights(scores_.rows, units_, request_, lanes, at_once);
    if (at_once == blocks) weights.draw(0, blocks, result_.accuracy.data(), runner_.share(0.0, 0.1));
    const Array<ClassRange> ranges = split_classes(
        0, scores_.cols, kTableBytes, [&](std::int64_t c) { return kBytesPerPositive * positives_.offset.length(c); });
    for (const ClassRange& range : ranges) run_range(range, weights, blocks, at_once);
    return std::move(result_);
  }

 private:
  // Wide blocks need fewer passes over the lists. Narrow ones leave work for all threads in few classes.
  int lanes_of_block() const {
    if (request_.replicates <= 16 || units_.count * 64 > kWeightBytes) return 16;
    const bool few_classes = scores_.cols < kClassesPerItem * 2 * runner_.threads;
    return few_classes || request_.replicates <= 64 || units_.count * kMostBlockLanes > kWeightBytes ? 64
                                                                                                     : kMostBlockLanes;
  }

  double done(std::int64_t c) const { return 0.1 + 0.9 * static_cast<double>(c) / static_cast<double>(scores_.cols); }

  void run_range(const ClassRange& range, BlockWeights& weights, std::int64_t blocks, std::int64_t at_once) {
    const ClassView view(scores_, positives_, range);
    const Runner whole = runner_.share(done(range.first), done(range.end));
    RankTable table;
    try {
      table = rank_scan(view.scores, view.positives, {}, whole.share(0.0, 0.1)).table;
    } catch (const BadValue&) {
      throw_if_nan(scores_, runner_);  // names the first NaN of all classes
      throw;
    }
    const Array<ClassRange> parts = split_classes(0, range.count(), kListBytes, [&](std::int64_t c) {
      const std::int64_t last = table.offset[c + 1] - 1;
      const std::int64_t rows = table.offset.length(c) == 0 ? 0 : table.tp[last] + table.fp[last];
      return rows * static_cast<std::int64_t>(sizeof(std::uint32_t));
    });
    UnitLists lists;
    for (std::int64_t p = 0; p < parts.count(); ++p) {
      const auto of_parts = static_cast<double>(parts.count());
      const Runner of_part =
          whole.share(0.1 + 0.9 * static_cast<double>(p) / of_parts, 0.1 + 0.9 * static_cast<double>(p + 1) / of_parts);
      with_element_type(scores_.dtype, [&](auto tag) {
        lists.make<typename decltype(tag)::type>(view, table, parts[p], units_, of_part.share(0.0, 0.2));
      });
      for (std::int64_t first = 0; first < blocks; first += at_once) {
        const std::int64_t count = std::min(at_once, blocks - first);
        const auto fraction = [=](std::int64_t block) {
          return 0.2 + 0.8 * static_cast<double>(block) / static_cast<double>(blocks);
        };
        const Runner of_blocks = of_part.share(fraction(first), fraction(first + count));
        if (at_once < blocks) weights.draw(first, count, result_.accuracy.data(), of_blocks.share(0.0, 0.3));
        resample(view, table, parts[p], range.first, lists, weights, count,
                 of_blocks.share(at_once < blocks ? 0.3 : 0.0, 1.0));
      }
    }
  }

  struct alignas(64) Scratch {
    double average_precision[kMostBlockLanes];
    double roc_auc[kMostBlockLanes];
    double expected_sap[kMostBlockLanes];
    std::uint32_t positives[kMostBlockLanes];
    std::uint32_t hits[kMostBlockLanes];
    std::uint32_t part[kMostBlockLanes];
    double total[kMostBlockLanes];
    Array<std::uint32_t> listed;
    Array<std::uint32_t> unknown;
    AlignedLanes<double> levels;
  };

  // Class c of the view is class first_class + c of the results.
  void resample(const ClassView& view, const RankTable& table, const ClassRange& part, std::int64_t first_class,
                const UnitLists& lists, const BlockWeights& weights, std::int64_t blocks, const Runner& runner) {
    const std::int64_t groups = items_of(part.count(), kClassesPerItem);
    Array<Scratch> scratch(std::max(runner.threads, 1));
    runner.run(groups * blocks, [&](std::int64_t item, int id) {
      const std::int64_t b = item / groups;
      const WeightBlock block = weights.block(b);
      const std::int64_t first_col = part.first + item % groups * kClassesPerItem;
      const std::int64_t replicate = weights.first_replicate(b);
      const std::int64_t replicates = std::min<std::int64_t>(block.lanes, request_.replicates - replicate);
      Scratch& own = scratch[id];
      if (request_.expected_sap && own.levels.data() == nullptr) own.levels.resize(kLevelDoubles);
      for (std::int64_t c = first_col; c < std::min(part.end, first_col + kClassesPerItem); ++c) {
        const std::int64_t first = table.offset.first(c);
        const ResampledClass cls{table.offset.length(c),    table.tp.data() + first, table.fp.data() + first,
                                 table.tied.data() + first, lists.units(c),          lists.positives(view, c)};
        const double* total = weights.total(b);
        if (unknown_count(view.scores.unknown, c) != 0) {
          sum_known_rows(view, c, block, total, own);
          total = own.total;
        }
        resample_class_(block, cls, total,
                        {result_.average_precision.empty() ? nullptr : own.average_precision,
                         result_.roc_auc.empty() ? nullptr : own.roc_auc,
                         result_.expected_sap.empty() ? nullptr : own.expected_sap, own.levels.data()});
        const std::int64_t to = replicate * scores_.cols + first_class + c;
        const auto write = [&](TableColumn<double>& column, const double* values) {
          for (std::int64_t i = 0; i < replicates && !column.empty(); ++i) column[to + i * scores_.cols] = values[i];
        };
        write(result_.average_precision, own.average_precision);
        write(result_.roc_auc, own.roc_auc);
        write(result_.expected_sap, own.expected_sap);
        if (request_.topk.size() != 0) write_accuracy(view, c, block, to, replicates, own);
      }
    });
  }

  // Writes the weight of the rows that a class knows to own.total: that of all rows without those that it does not
  // know, or the sum over its known rows, if these are fewer.
  void sum_known_rows(const ClassView& view, std::int64_t c, const WeightBlock& block, const double* all,
                      Scratch& own) const {
    const Span<const std::uint32_t> unknown = unknown_rows(view.scores.unknown, c, own.unknown);
    const std::int64_t num_rows = view.scores.rows;
    const bool from_all = 2 * unknown.size() <= num_rows;
    for (int i = 0; i < block.lanes; ++i) own.total[i] = from_all ? all[i] : 0.0;
    own.listed.resize(kRowsPerItem);
    std::int64_t count = 0;
    const auto add_listed = [&] {
      sum_units_(block, own.listed.data(), count, own.part);
      for (int i = 0; i < block.lanes; ++i) own.total[i] += from_all ? -static_cast<double>(own.part[i]) : own.part[i];
      count = 0;
    };
    const auto add = [&](std::uint32_t row) {
      own.listed[count++] = units_.of_row == nullptr ? row : units_.of_row[row];
      if (count == kRowsPerItem) add_listed();
    };
    if (from_all) {
      for (const std::uint32_t row : unknown) add(row);
    } else {
      const std::uint32_t* next = unknown.begin();
      for (std::int64_t row = 0; row < num_rows; ++row) {
        if (next != unknown.end() && *next == row) {
          ++next;
        } else {
          add(static_cast<std::uint32_t>(row));
        }
      }
    }
    add_listed();
  }

  void write_accuracy(const ClassView& view, std::int64_t c, const WeightBlock& block, std::int64_t to,
                      std::int64_t replicates, Scratch& own) {
    const Span<const std::uint32_t> rows = view.positives.rows_of(c);
    own.listed.resize(rows.size());
    const auto sum_below = [&](std::int64_t k, std::uint32_t* sums) {
      std::int64_t count = 0;
      for (const std::uint32_t row : rows) {
        if (request_.ranks[row] >= k) continue;
        own.listed[count++] = units_.of_row == nullptr ? row : units_.of_row[row];
      }
      sum_units_(block, own.listed.data(), count, sums);
    };
    sum_below(std::numeric_limits<std::int64_t>::max(), own.positives);
    for (std::int64_t k = 0; k < request_.topk.size(); ++k) {
      sum_below(request_.topk[k], own.hits);
      double* const out = result_.class_accuracy.data() + k * request_.replicates * scores_.cols + to;
      for (std::int64_t i = 0; i < replicates; ++i) {
        out[i * scores_.cols] =
            own.positives[i] == 0 ? undefined() : static_cast<double>(own.hits[i]) / own.positives[i];
      }
    }
  }

  const Matrix& scores_;
  const Positives& positives_;
  const Units& units_;
  const BootstrapRequest& request_;
  const Runner& runner_;
  BootstrapResult result_;
  const ResampleClass resample_class_ = resample_class_kernel();
  const SumUnits sum_units_ = sum_units_kernel();
};

}  // namespace

BootstrapResult bootstrap(const Matrix& scores, const Positives& positives, const Units& units,
                          const BootstrapRequest& request, const Runner& runner) {
  return Bootstrap(scores, positives, units, request, runner).run();
}

void bootstrap_weights(Resampling method, std::uint64_t seed, std::int64_t first, std::int64_t replicates,
                       std::int64_t units, std::uint8_t* weights, const Runner& runner) {
  if (method == Resampling::kMultinomial) {
    runner.run(replicates, [&](std::int64_t r, int) { draw_multinomial(seed, first + r, units, weights + r * units); });
    return;
  }
  // Blocks of 64 replicates and kUnitsPerItem units, transposed.
  constexpr int kLanes = 64;
  const std::int64_t first_block = first / kLanes;
  const std::int64_t blocks = items_of(first + replicates, kLanes) - first_block;
  const std::int64_t tiles = items_of(units, kUnitsPerItem);
  const DrawPoisson draw_poisson = draw_poisson_kernel();
  Array<Array<std::uint8_t>> scratch(std::max(runner.threads, 1));
  runner.run(blocks * tiles, [&](std::int64_t item, int id) {
    Array<std::uint8_t>& drawn = scratch[id];
    drawn.resize(kUnitsPerItem * kLanes);
    const std::int64_t block = first_block + item / tiles;
    const std::int64_t unit = item % tiles * kUnitsPerItem;
    const std::int64_t count = std::min(kUnitsPerItem, units - unit);
    draw_poisson(seed, static_cast<std::uint32_t>(block * kLanes / 4), kLanes, unit, count, drawn.data());
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::int64_t r = block * kLanes + lane - first;
      if (r < 0 || r >= replicates) continue;
      for (std::int64_t i = 0; i < count; ++i) weights[r * units + unit + i] = drawn[i * kLanes + lane];
    }
  });
}

}  // namespace vltr::cpu
