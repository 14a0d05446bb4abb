#include "cpu/dense_classes.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "core/sap_core.hpp"
#include "cpu/dense_class.hpp"
#include "core/large_array.hpp"

namespace vltr::cpu {
namespace {

constexpr std::int64_t kScratchBytes = std::int64_t{64} << 20;
constexpr std::int64_t kRowsPerChunk = std::int64_t{1} << 17;

int bit_width(std::uint64_t value) {
  int width = 0;
  for (; value != 0; value >>= 1) ++width;
  return width;
}

}  // namespace

template <class Key>
void KeyCells<Key>::build(std::int64_t rows, const Array<Key>& sample) {
  constexpr std::int64_t kRowsPerCell = 8192;  // more cells cost more in the distribution than they save in the sort
  constexpr int kMostBits = 12;                // of the number of coarse cells
  constexpr int kMostDivisionBits = 10;        // of the cells of a coarse cell
  const std::int64_t wanted = std::clamp<std::int64_t>(rows / kRowsPerCell, 1, 128);
  const int bits = sample.empty() ? 1 : std::clamp(bit_width(static_cast<std::uint64_t>(rows)) - 5, 1, kMostBits);
  shift_ = 8 * static_cast<int>(sizeof(Key)) - bits;
  low_ = (Key{1} << shift_) - 1;
  coarse_.resize(std::int64_t{1} << bits);
  free_bits_.clear();
  auto next = sample.begin();
  for (std::int64_t i = 0; i < coarse_.count(); ++i) {
    std::int64_t found = 0;
    for (; next != sample.end() && static_cast<std::int64_t>(*next >> shift_) == i; ++next) ++found;
    const std::int64_t share = found == 0 ? 0 : 2 * found * wanted / sample.count();
    const int division = std::min({bit_width(static_cast<std::uint64_t>(share)), kMostDivisionBits, shift_});
    coarse_[i] = {static_cast<std::uint32_t>(free_bits_.size()), static_cast<std::uint32_t>(shift_ - division)};
    free_bits_.insert(free_bits_.end(), std::size_t{1} << division, static_cast<std::uint8_t>(shift_ - division));
  }
  count_ = free_bits_.count();
}

namespace {

// A class of the group that is being counted.
template <class Key>
struct DenseClass {
  std::int64_t cls;
  std::int64_t positives;
  KeyCells<Key> cells;
  Array<std::uint64_t> counts;            // (slices, cells), see dense_class.hpp
  Array<std::uint32_t> next;              // (slices, cells): the position of the next word
  Array<std::uint32_t> rows_before;       // (cells + 1): the rows in cells before, which are the position of its words
  Array<std::uint32_t> positives_before;  // (cells + 1)
  Key* words = nullptr;
  std::int64_t first_chunk = 0;
  std::int64_t end_chunk = 0;

  // The metric of the chunks so far.
  std::int64_t next_chunk = 0;
  double sum = 0.0;
  Wide twice_wins = 0;
};

// Neighbouring columns that are read together: those of classes first to end - 1 of the group, and others between them.
struct Block {
  std::int64_t first;
  std::int64_t end;
  std::int64_t first_col;
  std::int64_t cols;
};

// Consecutive cells of a class, sorted and counted by one thread.
struct Chunk {
  std::int64_t member;  // the number of its class in the group
  std::int64_t first_cell;
  std::int64_t end_cell;
  std::int64_t steps = 0;
  bool done = false;
  Array<double> summands;
};

template <class Lane>
struct DenseScratch {
  using Key = SortKey<Lane>;
  AlignedLanes<Lane> lanes;
  Array<std::uint8_t> labels = Array<std::uint8_t>(kTileRows);
  Array<Key> sorted;
  Steps steps;
};

template <class T>
class DenseScan {
  using Lane = LaneOf<T>;
  using Key = SortKey<Lane>;

 public:
  DenseScan(const Matrix& scores, const Positives& positives, ClassMetric metric, const Offsets& slot, RankTable& table,
            Array<std::int64_t>& counts, Array<double>& out, const Runner& runner)
      : scores_(scores),
        positives_(positives),
        metric_(metric),
        slot_(slot),
        table_(table),
        counts_(counts),
        out_(out),
        tiles_(row_tiles(scores, kTileRows)),
        scratch_(std::max(runner.threads, 1)) {
    constexpr std::int64_t kRowsPerSlice = std::int64_t{1} << 21;  // so that a call can be cancelled soon
    slices_ = std::clamp<std::int64_t>(scores.rows / kRowsPerSlice, std::max(runner.threads, 1), 1 << 12);
    slices_ = std::clamp<std::int64_t>(tiles_.count(), 1, slices_);
  }

  // Counts classes that are scanned together.
  bool count(Span<const std::int64_t> classes, const Runner& runner) {
    const auto cells = static_cast<double>(scores_.rows) * static_cast<double>(classes.size());
    const Phases phases(runner, {2.0 * cells, 3.0 * cells, 5.0 * cells});
    members_ = Array<DenseClass<Key>>(classes.size());
    blocks_.clear();
    words_.resize(scores_.rows * classes.size());
    for (std::int64_t m = 0; m < classes.size(); ++m) {
      const std::int64_t c = classes[m];
      members_[m].cls = c;
      members_[m].positives = positives_.offset.length(c);
      members_[m].words = words_.data() + m * scores_.rows;
      if (blocks_.empty() || c >= blocks_.back().first_col + 16) {
        blocks_.push_back({m, m + 1, c, 1});
      } else {
        blocks_.back().end = m + 1;
        blocks_.back().cols = c + 1 - blocks_.back().first_col;
      }
    }
    nan_ = false;
    const Runner counting = phases.phase(0);
    counting.run(members_.count(), [&](std::int64_t m, int) { make_cells(members_[m]); });
    counting.run(slices_, [&](std::int64_t slice, int worker) { read_slice<false>(slice, scratch_[worker]); });
    if (nan_) return false;
    make_chunks();
    phases.phase(1).run(slices_, [&](std::int64_t slice, int worker) { read_slice<true>(slice, scratch_[worker]); });
    phases.phase(2).run(chunks_.count(), [&](std::int64_t i, int worker) { sort_chunk(i, scratch_[worker]); });
    for (DenseClass<Key>& member : members_) finish(member);
    return true;
  }

 private:
  void make_cells(DenseClass<Key>& member) {
    constexpr std::int64_t kFewRows = 8192;  // fewer rows are not worth a sample
    Array<Key> sample;
    if (scores_.rows >= kFewRows) {
      const std::int64_t wanted = std::min<std::int64_t>(4096, scores_.rows / 16);
      sample.resize(wanted);
      for (std::int64_t i = 0; i < wanted; ++i) {
        const std::int64_t row = scores_.rows / wanted * i;
        sample[i] = sort_key(to_lane(load_element<T>(scores_.shard_of(row).at(row, member.cls))));
      }
      std::sort(sample.begin(), sample.end());
    }
    member.cells.build(scores_.rows, sample);
    member.counts.assign(slices_ * member.cells.count(), 0);
  }

  // Reads the tiles of a slice. The first time it counts the rows of each cell, the second time it writes their words.
  template <bool kScatter>
  void read_slice(std::int64_t slice, DenseScratch<Lane>& scratch) {
    const std::int64_t first_tile = slice * tiles_.count() / slices_;
    const std::int64_t end_tile = (slice + 1) * tiles_.count() / slices_;
    if (first_tile == end_tile) return;
    if (scratch.lanes.data() == nullptr) scratch.lanes.resize(16 * kTileRows);
    Array<const std::uint32_t*> positive(members_.count());
    for (std::int64_t m = 0; m < members_.count(); ++m) {
      const auto rows = positives_.rows_of(members_[m].cls);
      positive[m] =
          std::lower_bound(rows.begin(), rows.end(), static_cast<std::uint32_t>(tiles_[first_tile].first_row));
    }
    for (std::int64_t t = first_tile; t < end_tile; ++t) {
      const Tile& tile = tiles_[t];
      for (const Block& block : blocks_) {
        if (copy_columns_(tile, block.first_col, block.cols, kTileRows, scratch.lanes.data())) nan_ = true;
        for (std::int64_t m = block.first; m < block.end; ++m) {
          DenseClass<Key>& member = members_[m];
          std::fill(scratch.labels.begin(), scratch.labels.begin() + tile.rows, std::uint8_t{0});
          const std::uint32_t* const end = positives_.rows_of(member.cls).end();
          for (; positive[m] != end && *positive[m] < tile.first_row + tile.rows; ++positive[m]) {
            scratch.labels[*positive[m] - tile.first_row] = 1;
          }
          const Lane* const lanes = scratch.lanes.data() + (member.cls - block.first_col) * kTileRows;
          const std::int64_t of_slice = slice * member.cells.count();
          if constexpr (kScatter) {
            scatter_words_(member.cells, lanes, scratch.labels.data(), tile.rows, member.next.data() + of_slice,
                           member.words);
          } else {
            count_cells_(member.cells, lanes, scratch.labels.data(), tile.rows, member.counts.data() + of_slice);
          }
        }
      }
    }
  }

  // The positions of the words of each slice and cell, and the chunks.
  void make_chunks() {
    chunks_.clear();
    for (std::int64_t m = 0; m < members_.count(); ++m) {
      DenseClass<Key>& member = members_[m];
      const std::int64_t cells = member.cells.count();
      member.next.resize(slices_ * cells);
      member.rows_before.resize(cells + 1);
      member.positives_before.resize(cells + 1);
      member.first_chunk = member.next_chunk = chunks_.count();
      std::uint64_t before = 0;
      std::int64_t first_cell = 0;
      for (std::int64_t cell = 0; cell < cells; ++cell) {
        member.rows_before[cell] = static_cast<std::uint32_t>(before);
        member.positives_before[cell] = static_cast<std::uint32_t>(before >> 32);
        if (member.rows_before[cell] - member.rows_before[first_cell] >= kRowsPerChunk) {
          chunks_.push_back({m, first_cell, cell, 0, false, {}});
          first_cell = cell;
        }
        for (std::int64_t slice = 0; slice < slices_; ++slice) {
          member.next[slice * cells + cell] = static_cast<std::uint32_t>(before);
          before += member.counts[slice * cells + cell];
        }
      }
      member.rows_before[cells] = static_cast<std::uint32_t>(before);
      member.positives_before[cells] = static_cast<std::uint32_t>(before >> 32);
      chunks_.push_back({m, first_cell, cells, 0, false, {}});
      member.end_chunk = chunks_.count();
    }
  }

  // Sorts the cells of a chunk and passes its thresholds to the output.
  void sort_chunk(std::int64_t i, DenseScratch<Lane>& scratch) {
    Chunk& chunk = chunks_[i];
    DenseClass<Key>& member = members_[chunk.member];
    const std::int64_t rows = member.rows_before[chunk.first_cell];
    const std::int64_t positives = member.positives_before[chunk.first_cell];
    Steps& steps = scratch.steps;
    steps.reset(member.positives_before[chunk.end_cell] - positives);
    for (std::int64_t cell = chunk.first_cell; cell < chunk.end_cell; ++cell) {
      const std::int64_t first = member.rows_before[cell];
      const std::int64_t count = member.rows_before[cell + 1] - first;
      const std::int64_t first_positive = member.positives_before[cell];
      if (member.positives_before[cell + 1] == first_positive) continue;
      if (scratch.sorted.count() < count) scratch.sorted.resize(count);
      Key* const words = member.words + first;
      sort_words_(words, count, member.cells.free_bits(cell) + 1, scratch.sorted.data());
      const std::int64_t first_step = steps.count;
      append_steps_(words, count, static_cast<std::uint32_t>(first - rows),
                    static_cast<std::uint32_t>(first_positive - positives), steps);
      if (metric_ == ClassMetric::kNone) {
        Lane* const out = thresholds() + slot_[member.cls] + positives;
        const Key top = cell < member.cells.first_with_top_bit() ? Key{0} : Key{1} << (8 * sizeof(Key) - 1);
        for (std::int64_t k = first_step; k < steps.count; ++k) {
          out[k] = lane_of_key<Lane>(words[rows + steps.rows[k] - 1 - first] >> 1 | top);
        }
      }
    }
    chunk.steps = steps.count;
    const auto tp = [&](std::int64_t k) { return positives + steps.positives[k]; };
    const auto fp = [&](std::int64_t k) { return rows + steps.rows[k] - tp(k); };
    const auto equal = [&](std::int64_t k) { return steps.positives[k] - (k == 0 ? 0 : steps.positives[k - 1]); };
    const std::int64_t negatives = scores_.rows - member.positives;
    if (metric_ == ClassMetric::kNone) {
      const std::int64_t to = slot_[member.cls] + positives;
      for (std::int64_t k = 0; k < steps.count; ++k) {
        table_.tp[to + k] = tp(k);
        table_.fp[to + k] = fp(k);
        table_.tied[to + k] = steps.tied[k];
      }
    } else if (metric_ == ClassMetric::kRocAuc) {
      Wide wins = 0;
      for (std::int64_t k = 0; k < steps.count; ++k) {
        wins += static_cast<Wide>(equal(k)) * static_cast<Wide>(2 * (negatives - fp(k)) + steps.tied[k]);
      }
      const std::lock_guard<std::mutex> lock(guard_);
      member.twice_wins += wins;
    } else {
      chunk.summands.resize(steps.count);
      if (metric_ == ClassMetric::kAveragePrecision) {
        precision_summands_(steps, rows, positives, chunk.summands.data());
      } else {
        ExpectedPrecision expected(negatives, sap_draws(member.positives, negatives));
        for (std::int64_t k = 0; k < steps.count; ++k) {
          chunk.summands[k] = static_cast<double>(equal(k)) * expected(tp(k), fp(k));
        }
      }
      add_in_order(chunk, member);
    }
  }

  // Chunks end in any order, but their summands are added in one.
  void add_in_order(Chunk& chunk, DenseClass<Key>& member) {
    const std::lock_guard<std::mutex> lock(guard_);
    chunk.done = true;
    for (; member.next_chunk < member.end_chunk && chunks_[member.next_chunk].done; ++member.next_chunk) {
      for (const double summand : chunks_[member.next_chunk].summands) member.sum += summand;
      chunks_[member.next_chunk].summands = {};
    }
  }

  void finish(const DenseClass<Key>& member) {
    switch (metric_) {
      case ClassMetric::kNone:
        counts_[member.cls] = close_gaps(member);
        break;
      case ClassMetric::kRocAuc:
        out_[member.cls] = roc_auc(member.twice_wins, member.positives, scores_.rows - member.positives);
        break;
      default:
        out_[member.cls] = member.sum / static_cast<double>(member.positives);
    }
  }

  // Each chunk began at its number of positives. Where these have equal scores, it has fewer thresholds.
  std::int64_t close_gaps(const DenseClass<Key>& member) {
    const std::int64_t slot = slot_[member.cls];
    std::int64_t to = slot;
    for (std::int64_t i = member.first_chunk; i < member.end_chunk; ++i) {
      const Chunk& chunk = chunks_[i];
      move_thresholds<Lane>(table_, slot + member.positives_before[chunk.first_cell], chunk.steps, to);
      to += chunk.steps;
    }
    return to - slot;
  }

  Lane* thresholds() { return std::get<TableColumn<Lane>>(table_.thresholds).data(); }

  const Matrix& scores_;
  const Positives& positives_;
  const ClassMetric metric_;
  const Offsets& slot_;
  RankTable& table_;
  Array<std::int64_t>& counts_;
  Array<double>& out_;
  const Array<Tile> tiles_;
  std::int64_t slices_;
  Array<DenseScratch<Lane>> scratch_;
  Array<DenseClass<Key>> members_;
  Array<Block> blocks_;
  Array<Chunk> chunks_;
  LargeArray<Key> words_;
  std::atomic<bool> nan_{false};
  std::mutex guard_;
  const CopyColumns<Lane> copy_columns_ = copy_columns_kernel<T>();
  const CountCells<Lane> count_cells_ = count_cells_kernel<Lane>();
  const ScatterWords<Lane> scatter_words_ = scatter_words_kernel<Lane>();
  const SortWords<Key> sort_words_ = sort_words_kernel<Key>();
  const AppendSteps<Key> append_steps_ = append_steps_kernel<Key>();
  const PrecisionSummands precision_summands_ = precision_summands_kernel();
};

}  // namespace

template <class T>
bool scan_dense_classes(const Matrix& scores, const Positives& positives, const Array<std::int64_t>& classes,
                        ClassMetric metric, const Offsets& slot, RankTable& table, Array<std::int64_t>& counts,
                        Array<double>& out, const Runner& runner) {
  const std::int64_t class_bytes = scores.rows * static_cast<std::int64_t>(sizeof(LaneOf<T>));
  const std::int64_t most = std::max<std::int64_t>(1, kScratchBytes / std::max<std::int64_t>(1, class_bytes));
  const std::int64_t groups = (classes.count() + most - 1) / most;
  DenseScan<T> scan(scores, positives, metric, slot, table, counts, out, runner);
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t first = g * classes.count() / groups;
    const std::int64_t end = (g + 1) * classes.count() / groups;
    const auto all = static_cast<double>(groups);
    const Runner of_group = runner.share(static_cast<double>(g) / all, static_cast<double>(g + 1) / all);
    if (!scan.count({classes.data() + first, end - first}, of_group)) return false;
  }
  return true;
}

template class KeyCells<std::uint32_t>;
template class KeyCells<std::uint64_t>;
#define VLTR_SCAN(T)                                                                                            \
  template bool scan_dense_classes<T>(const Matrix&, const Positives&, const Array<std::int64_t>&, ClassMetric, \
                                      const Offsets&, RankTable&, Array<std::int64_t>&, Array<double>&,         \
                                      const Runner&);
VLTR_FOR_EACH_ELEMENT(VLTR_SCAN)
#undef VLTR_SCAN

}  // namespace vltr::cpu
