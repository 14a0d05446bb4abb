// Dense classes, distributed to cells: the part of their scan that counts and weights share.
//
// A scan takes a group of classes at a time. Threads read slices of the rows twice: first to count the rows of each
// cell, then to write each row to its cell. After that they take chunks, which are consecutive cells of a class. A
// class with many rows has many chunks, so one class alone occupies all threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <mutex>

#include "core/errors.hpp"
#include "core/large_array.hpp"
#include "cpu/dense_class.hpp"
#include "cpu/known_rows.hpp"

namespace vltr::cpu {

// A class of the group that is being scanned.
template <class Key>
struct CellClass {
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

  // The sums of the chunks so far, one for each weighting.
  std::int64_t next_chunk = 0;
  Array<double> sums;
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
  Array<double> summands;  // of each weighting, with the same room for each; the first `steps` are in use
};

// Calls scan(group, runner) for groups of the classes, which returns false to stop. Returns false if one did.
// Scratch of the groups: 64 MiB, or that of one class if it is more. Scores that crowd in few cells take up to as much
// again for the sort.
template <class Scan>
bool for_each_group(const Array<std::int64_t>& classes, std::int64_t class_bytes, const Runner& runner,
                    const Scan& scan) {
  constexpr std::int64_t kScratchBytes = std::int64_t{64} << 20;
  const std::int64_t most = std::max<std::int64_t>(1, kScratchBytes / std::max<std::int64_t>(1, class_bytes));
  const std::int64_t groups = (classes.count() + most - 1) / most;
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t first = g * classes.count() / groups;
    const std::int64_t end = (g + 1) * classes.count() / groups;
    const auto all = static_cast<double>(groups);
    const Runner of_group = runner.share(static_cast<double>(g) / all, static_cast<double>(g + 1) / all);
    if (!scan(Span<const std::int64_t>{classes.data() + first, end - first}, of_group)) return false;
  }
  return true;
}

// Makes room for `count` elements. Memory that suffices is kept, because new pages cost as much as a pass over them.
template <class T>
void reserve(LargeArray<T>& array, std::int64_t count) {
  if (array.count() < count) array.resize(count);
}

// Throws if the words of a cell have another number of positives than was counted before they were written.
template <class Key>
void check_positives(const Key* words, std::int64_t count, std::int64_t expected) {
  Key found = 0;
  for (std::int64_t i = 0; i < count; ++i) found += words[i] & 1;
  if (static_cast<std::int64_t>(found) != expected) throw ScoresChanged();
}

// Sorts the words of a large cell in place if all of them have the same key, as those of tied scores have. Returns
// false, and changes nothing, for other cells.
template <class Key>
bool sort_one_key(Key* words, std::int64_t count) {
  constexpr std::int64_t kLarge = std::int64_t{1} << 18;
  if (count < kLarge) return false;
  Key differ = 0;
  std::int64_t positives = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    differ |= words[i] ^ words[0];
    positives += static_cast<std::int64_t>(words[i] & 1);
  }
  if (differ >> 1 != 0) return false;
  const Key negative = words[0] & ~Key{1};
  std::fill(words, words + count - positives, negative);
  std::fill(words + count - positives, words + count, negative | 1);
  return true;
}

template <class T>
class CellScan {
 public:
  using Lane = LaneOf<T>;
  using Key = SortKey<Lane>;

  // unknown: the cells that are left out; null for none.
  CellScan(const Matrix& scores, const Positives& positives, std::int64_t weightings, const Runner& runner,
           const UnknownCells* unknown = nullptr)
      : scores_(scores),
        positives_(positives),
        weightings_(weightings),
        unknown_(unknown),
        tiles_(row_tiles(scores, kTileRows)),
        readers_(std::max(runner.threads, 1)) {
    threads_ = std::max(runner.threads, 1);
  }

 protected:
  // Takes the classes that are scanned together, and counts the rows of their cells. Returns false if a score is NaN.
  bool count_cells(Span<const std::int64_t> classes, const Runner& runner) {
    constexpr std::int64_t kCellsPerSlice = std::int64_t{1} << 21;  // so that a call can be cancelled soon
    slices_ = std::clamp<std::int64_t>(scores_.rows * classes.size() / kCellsPerSlice, threads_, 1 << 12);
    slices_ = std::clamp<std::int64_t>(tiles_.count(), 1, slices_);
    members_ = Array<CellClass<Key>>(classes.size());
    blocks_.clear();
    reserve(words_, scores_.rows * classes.size());
    for (std::int64_t m = 0; m < classes.size(); ++m) {
      const std::int64_t c = classes[m];
      members_[m].cls = c;
      members_[m].positives = positives_.offset.length(c);
      members_[m].words = words_.data() + m * scores_.rows;
      members_[m].sums.assign(weightings_, 0.0);
      if (blocks_.empty() || c >= blocks_.back().first_col + 16) {
        blocks_.push_back({m, m + 1, c, 1});
      } else {
        blocks_.back().end = m + 1;
        blocks_.back().cols = c + 1 - blocks_.back().first_col;
      }
    }
    nan_ = false;
    runner.run(members_.count(), [&](std::int64_t m, int) { make_cells(members_[m]); });
    read_slices(runner, [&](std::int64_t m, std::int64_t of_slice, const Tile& tile, const Lane* lanes,
                            const std::uint8_t* labels) {
      count_cells_(members_[m].cells, lanes, labels, tile.rows, members_[m].counts.data() + of_slice);
    });
    if (nan_) return false;
    make_chunks();
    return true;
  }

  // Calls scatter(m, of_slice, tile, lanes, labels) for each tile and member, which writes the rows to their cells: the
  // positions are in next from element of_slice on. The tile has the known rows alone if a class has unknown cells.
  template <class Scatter>
  void read_slices(const Runner& runner, const Scatter& scatter) {
    runner.run(slices_, [&](std::int64_t slice, int worker) { read_slice(slice, readers_[worker], scatter); });
  }

  // Chunks end in any order, but their summands are added in one.
  void add_in_order(Chunk& chunk) {
    const std::lock_guard<std::mutex> lock(guard_);
    chunk.done = true;
    CellClass<Key>& member = members_[chunk.member];
    for (; member.next_chunk < member.end_chunk && chunks_[member.next_chunk].done; ++member.next_chunk) {
      Chunk& next = chunks_[member.next_chunk];
      for (std::int64_t w = 0; w < weightings_; ++w) {
        const double* const summands = next.summands.data() + w * (next.summands.count() / weightings_);
        for (std::int64_t k = 0; k < next.steps; ++k) member.sums[w] += summands[k];
      }
      next.summands = {};
    }
  }

  const Matrix& scores_;
  const Positives& positives_;
  const std::int64_t weightings_;
  Array<CellClass<Key>> members_;
  Array<Chunk> chunks_;
  std::mutex guard_;

 private:
  struct Reader {
    AlignedLanes<Lane> lanes;
    Array<std::uint8_t> labels = Array<std::uint8_t>(kTileRows);
    Array<RowMask> known;
  };

  void make_cells(CellClass<Key>& member) {
    constexpr std::int64_t kFewRows = 65536;  // fewer rows are not worth a sample
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

  // Calls each(m, of_slice, tile, lanes, labels) for the tiles of a slice.
  template <class Each>
  void read_slice(std::int64_t slice, Reader& reader, const Each& each) {
    const std::int64_t first_tile = slice * tiles_.count() / slices_;
    const std::int64_t end_tile = (slice + 1) * tiles_.count() / slices_;
    if (first_tile == end_tile) return;
    if (reader.lanes.data() == nullptr) reader.lanes.resize(16 * kTileRows);
    Array<const std::uint32_t*> positive(members_.count());
    for (std::int64_t m = 0; m < members_.count(); ++m) {
      const auto rows = positives_.rows_of(members_[m].cls);
      positive[m] =
          std::lower_bound(rows.begin(), rows.end(), static_cast<std::uint32_t>(tiles_[first_tile].first_row));
    }
    for (std::int64_t t = first_tile; t < end_tile; ++t) {
      const Tile& tile = tiles_[t];
      for (const Block& block : blocks_) {
        if (copy_columns_(tile, block.first_col, block.cols, kTileRows, reader.lanes.data())) nan_ = true;
        for (std::int64_t m = block.first; m < block.end; ++m) {
          const CellClass<Key>& member = members_[m];
          std::fill(reader.labels.begin(), reader.labels.begin() + tile.rows, std::uint8_t{0});
          const std::uint32_t* const end = positives_.rows_of(member.cls).end();
          for (; positive[m] != end && *positive[m] < tile.first_row + tile.rows; ++positive[m]) {
            reader.labels[*positive[m] - tile.first_row] = 1;
          }
          Lane* const lanes = reader.lanes.data() + (member.cls - block.first_col) * kTileRows;
          Tile known = tile;
          if (unknown_count(unknown_, member.cls) != 0) known.rows = keep_known(tile, member.cls, lanes, reader);
          each(m, slice * member.cells.count(), known, lanes, reader.labels.data());
        }
      }
    }
  }

  // Moves the scores and labels of known rows to the front. Returns their number.
  std::int64_t keep_known(const Tile& tile, std::int64_t c, Lane* lanes, Reader& reader) const {
    const RowMask* const known = KnownRows(unknown_).of(tile, c, c + 1, reader.known);
    if (known == nullptr) return tile.rows;
    std::int64_t kept = 0;
    for (std::int64_t row = 0; row < tile.rows; ++row) {
      lanes[kept] = lanes[row];
      reader.labels[kept] = reader.labels[row];
      kept += known->has(row);
    }
    return kept;
  }

  // The positions of the words of each slice and cell, and the chunks.
  void make_chunks() {
    constexpr std::int64_t kRowsPerChunk = std::int64_t{1} << 17;
    chunks_.clear();
    for (std::int64_t m = 0; m < members_.count(); ++m) {
      CellClass<Key>& member = members_[m];
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

  const UnknownCells* const unknown_;
  const Array<Tile> tiles_;
  std::int64_t threads_;
  std::int64_t slices_ = 1;
  Array<Reader> readers_;
  Array<Block> blocks_;
  LargeArray<Key> words_;
  std::atomic<bool> nan_{false};
  const CopyColumns<Lane> copy_columns_ = copy_columns_kernel<T>();
  const CountCells<Lane> count_cells_ = count_cells_kernel<Lane>();
};

}  // namespace vltr::cpu
