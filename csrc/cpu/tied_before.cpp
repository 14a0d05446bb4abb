#include "cpu/tied_before.hpp"

#include <algorithm>
#include <atomic>
#include <memory>

#include "cpu/columns.hpp"
#include "cpu/find_nan.hpp"
#include "cpu/lane_columns.hpp"
#include "cpu/tile_positives.hpp"

namespace vltr::cpu {
namespace {

// A positive at a threshold, and the rows before it in its chunk that have the same score.
struct TiedPositive {
  std::int64_t threshold;
  std::uint32_t negatives;
  std::uint32_t positives;
};

// Consecutive tiles times neighbouring columns: the unit of scheduling. The chunks of a group of columns are
// consecutive items and ascend by rows.
struct Chunk {
  std::int64_t group;
  std::int64_t first_tile;
  std::int64_t end_tile;
  // By threshold of the group: the rows of this chunk, and later those of the chunks before it.
  Array<std::uint32_t> negatives;
  Array<std::uint32_t> positives;
  Array<TiedPositive> found;
};

struct Worker {
  Array<RowMask> known;
  Array<std::uint32_t> buckets;
};

// Groups of neighbouring columns that cover all classes with thresholds. A few other columns are read along.
Array<ColumnGroup> groups_of(const Offsets& offset) {
  constexpr std::int64_t kMostGap = 16;
  Array<ColumnGroup> groups;
  for (std::int64_t c = 0; c < offset.lists(); ++c) {
    if (offset.length(c) == 0) continue;
    const bool joins = !groups.empty() && c < groups.back().first + LaneColumns::kMostCols &&
                       c <= groups.back().first + groups.back().count + kMostGap;
    if (joins) {
      groups.back().count = c + 1 - groups.back().first;
    } else {
      groups.push_back({c, 1});
    }
  }
  return groups;
}

class TieCount {
 public:
  TieCount(const Matrix& scores, const Positives& positives, const RankTable& thresholds,
           Span<const std::int64_t> start, bool ranges, const Runner& runner)
      : exact_(ranges ? 0 : 1),
        scores_(scores),
        positives_(positives),
        offset_(thresholds.offset),
        start_(start),
        runner_(runner),
        known_(scores),
        tiles_(row_tiles(scores, kTileRows)),
        first_positive_(first_positives(positives, tiles_, runner.share(0.0, 0.02))),
        groups_(groups_of(thresholds.offset)),
        columns_(LaneColumns::make(scores, thresholds, std::max(runner.threads, 1))),
        workers_(std::max(runner.threads, 1)) {}

  Array<std::uint32_t> operator()() {
    make_chunks();
    runner_.share(0.02, 0.96).run(chunks_.count(), [this](std::int64_t item, int id) { count(chunks_[item], id); });
    if (columns_->has_nan()) throw_if_nan(scores_, runner_.share(0.96, 0.96));
    runner_.share(0.96, 0.98).run(groups_.count(), [this](std::int64_t group, int) { add_before(group); });
    if (changed_) throw ScoresChanged();
    Array<std::uint32_t> out(start_[offset_.back()]);
    runner_.share(0.98, 1.0).run(chunks_.count(), [&](std::int64_t item, int) { write(chunks_[item], out.data()); });
    if (changed_) throw ScoresChanged();
    return out;
  }

 private:
  std::int64_t first_threshold(const ColumnGroup& group) const { return offset_[group.first]; }
  std::int64_t end_threshold(const ColumnGroup& group) const { return offset_[group.first + group.count]; }

  void make_chunks() {
    constexpr std::int64_t kCellsPerChunk = std::int64_t{1} << 20;  // so that a call can be cancelled soon
    const std::int64_t wanted = 4 * std::max(runner_.threads, 1);
    for (std::int64_t g = 0; g < groups_.count(); ++g) {
      const std::int64_t chunks_of_group = std::clamp<std::int64_t>(
          std::max(scores_.rows * groups_[g].count / kCellsPerChunk, wanted / groups_.count()), 1, tiles_.count());
      first_chunk_.push_back(chunks_.count());
      for (std::int64_t i = 0; i < chunks_of_group; ++i) {
        chunks_.push_back(
            {g, i * tiles_.count() / chunks_of_group, (i + 1) * tiles_.count() / chunks_of_group, {}, {}, {}});
      }
    }
    first_chunk_.push_back(chunks_.count());
  }

  void count(Chunk& chunk, int id) {
    Worker& worker = workers_[id];
    worker.buckets.resize(kTileRows + 16);
    const ColumnGroup group = groups_[chunk.group];
    chunk.negatives.assign(end_threshold(group) - first_threshold(group), 0);
    chunk.positives.assign(end_threshold(group) - first_threshold(group), 0);
    for (std::int64_t t = chunk.first_tile; t < chunk.end_tile; ++t) {
      const Tile& tile = tiles_[t];
      columns_->read(tile.first_row, tile.rows, group.first, group.count, id);
      const RowMask* const known = known_.of(tile, group.first, group.first + group.count, worker.known);
      for (std::int64_t j = 0; j < group.count; ++j) {
        if (offset_.length(group.first + j) != 0) {
          count_column(chunk, t, j, known == nullptr ? nullptr : known + j, id);
        }
      }
    }
  }

  void count_column(Chunk& chunk, std::int64_t t, std::int64_t j, const RowMask* known, int id) {
    const ColumnGroup group = groups_[chunk.group];
    const std::int64_t c = group.first + j;
    RowMask reach;
    columns_->reach(j, id, reach);
    if (known != nullptr) {
      for (std::int64_t i = 0; i < kTileBlocks; ++i) reach.block[i] &= known->block[i];
    }
    std::uint32_t* const buckets = workers_[id].buckets.data();
    const std::int64_t rows = columns_->find_buckets(j, id, reach, buckets);
    const std::int64_t keys = offset_.length(c);
    // Buckets ascend with the score, and thresholds descend.
    const std::int64_t last = offset_[c] + keys - 1 - first_threshold(group);
    std::uint32_t* const negatives = chunk.negatives.data() + last;
    const auto add_negatives = [&](std::int64_t from, std::int64_t to) {
      if (keys == 1) {
        std::uint32_t equal = 0;
        for (std::int64_t i = from; i < to; ++i) equal += 1 - (buckets[i] & exact_);
        *negatives += equal;
      } else {
        for (std::int64_t i = from; i < to; ++i) *(negatives - (buckets[i] >> 1)) += 1 - (buckets[i] & exact_);
      }
    };
    std::int64_t next = 0;
    const std::int64_t classes = positives_.classes();
    for (std::int64_t p = first_positive_[t * classes + c]; p < first_positive_[(t + 1) * classes + c]; ++p) {
      const std::int64_t row = positives_.rows[p] - tiles_[t].first_row;
      if (!reach.has(row)) continue;
      const std::int64_t at = reach.count_before(row);
      add_negatives(next, at);
      next = at + 1;
      if ((buckets[at] & exact_) != 0) continue;
      const std::int64_t k = last - (buckets[at] >> 1);
      chunk.found.push_back({k, chunk.negatives[k], chunk.positives[k]++});
    }
    add_negatives(next, rows);
  }

  // Replaces the counts of each chunk by those of the chunks before it.
  void add_before(std::int64_t g) {
    const std::int64_t first = first_threshold(groups_[g]);
    for (std::int64_t k = first; k < end_threshold(groups_[g]); ++k) {
      std::uint32_t negatives = 0;
      std::uint32_t positives = 0;
      for (std::int64_t i = first_chunk_[g]; i < first_chunk_[g + 1]; ++i) {
        std::swap(negatives, chunks_[i].negatives[k - first]);
        negatives += chunks_[i].negatives[k - first];
        std::swap(positives, chunks_[i].positives[k - first]);
        positives += chunks_[i].positives[k - first];
      }
      if (positives != start_[k + 1] - start_[k]) changed_ = true;
    }
  }

  void write(const Chunk& chunk, std::uint32_t* out) {
    const std::int64_t first = first_threshold(groups_[chunk.group]);
    for (const TiedPositive& positive : chunk.found) {
      const std::int64_t to =
          start_[first + positive.threshold] + chunk.positives[positive.threshold] + positive.positives;
      out[to] = chunk.negatives[positive.threshold] + positive.negatives;
    }
  }

  const std::uint32_t exact_;  // the bit of a bucket that says that a score is above its threshold, if that matters
  const Matrix& scores_;
  const Positives& positives_;
  const Offsets& offset_;
  const Span<const std::int64_t> start_;
  const Runner& runner_;
  const KnownRows known_;
  const Array<Tile> tiles_;
  const Array<std::int64_t> first_positive_;
  const Array<ColumnGroup> groups_;
  const std::unique_ptr<LaneColumns> columns_;
  Array<Worker> workers_;
  Array<Chunk> chunks_;
  Array<std::int64_t> first_chunk_;
  std::atomic<bool> changed_{false};
};

}  // namespace

Array<std::uint32_t> count_tied_before(const Matrix& scores, const Positives& positives, const RankTable& thresholds,
                                       Span<const std::int64_t> start, const Runner& runner, bool ranges) {
  return TieCount(scores, positives, thresholds, start, ranges, runner)();
}

}  // namespace vltr::cpu
