#include "cpu/score_curves.hpp"

#include <algorithm>

#include "cpu/cell_scan.hpp"
#include "cpu/find_nan.hpp"

namespace vltr::cpu {
namespace {

// The thresholds of a chunk. Element 0 is the threshold before them and element count + 1 the one after them, so that
// a rule can compare neighbours.
struct Thresholds {
  Array<std::uint32_t> tp;
  Array<std::uint32_t> reached;
  Array<std::uint32_t> word;  // the position of a word with the key
  std::int64_t count = 0;

  void reset(std::int64_t most) {
    count = 0;
    if (tp.count() >= most + 3) return;
    for (auto* column : {&tp, &reached, &word}) column->resize(most + 3);
  }
};

bool changes(const Array<std::uint32_t>& column, std::int64_t i) {
  return column[i] != column[i - 1] || column[i + 1] != column[i];
}
bool bends(const Array<std::uint32_t>& column, std::int64_t i) {
  return column[i] - column[i - 1] != column[i + 1] - column[i];
}

template <class T>
class CurveScan : CellScan<T> {
  using Base = CellScan<T>;
  using Base::chunks_;
  using Base::members_;
  using Base::positives_;
  using Base::scores_;
  using typename Base::Key;
  using typename Base::Lane;

 public:
  CurveScan(const Matrix& scores, const Positives& positives, const Array<CurveRequest>& requests, const Runner& runner)
      : Base(scores, positives, 1, runner, scores.unknown),
        requests_(requests),
        curves_(requests.count()),
        scratch_(std::max(runner.threads, 1)) {
    for (ScoreCurves& curve : curves_) curve.thresholds = TableColumn<Lane>();
  }

  // Appends the curves of classes that are scanned together, the classes in ascending order.
  bool append(Span<const std::int64_t> classes, const Runner& runner) {
    const auto cells = static_cast<double>(scores_.rows) * static_cast<double>(classes.size());
    const Phases phases(runner, {2.0 * cells, 3.0 * cells, 5.0 * cells, 2.0 * cells, 2.0 * cells});
    if (!this->count_cells(classes, phases.phase(0))) return false;
    this->read_slices(phases.phase(1), [&](std::int64_t m, std::int64_t of_slice, const Tile& tile, const Lane* lanes,
                                           const std::uint8_t* labels) {
      CellClass<Key>& member = members_[m];
      scatter_words_(member.cells, lanes, labels, tile.rows, static_cast<std::uint32_t>(scores_.rows - 1),
                     member.next.data() + of_slice, member.words);
    });
    // A chunk looks at the first threshold of the next one, so all of them are sorted before one is counted.
    phases.phase(2).run(chunks_.count(), [&](std::int64_t i, int worker) { sort_chunk(chunks_[i], scratch_[worker]); });
    kept_.assign(chunks_.count() * requests_.count(), 0);
    phases.phase(3).run(chunks_.count(), [&](std::int64_t i, int worker) {
      Thresholds& thresholds = scratch_[worker].thresholds;
      find_thresholds(chunks_[i], thresholds);
      for (std::int64_t r = 0; r < requests_.count(); ++r) {
        std::int64_t& kept = kept_[i * requests_.count() + r];
        for_each_kept(r, chunks_[i], thresholds, [&](std::int64_t) { ++kept; });
      }
    });
    make_room();
    phases.phase(4).run(chunks_.count(), [&](std::int64_t i, int worker) {
      find_thresholds(chunks_[i], scratch_[worker].thresholds);
      for (std::int64_t r = 0; r < requests_.count(); ++r) write(r, i, scratch_[worker].thresholds);
    });
    return true;
  }

  Array<ScoreCurves> take() { return std::move(curves_); }

 private:
  struct Scratch {
    LargeArray<Key> sorted;
    Thresholds thresholds;
  };
  // The place of a chunk in a curve.
  struct Slot {
    std::int64_t before;  // the kept thresholds of its class in earlier chunks
    std::int64_t kept;    // and in all chunks
    std::int64_t to;      // the next element of the columns
  };

  void sort_chunk(const Chunk& chunk, Scratch& scratch) {
    CellClass<Key>& member = members_[chunk.member];
    for (std::int64_t cell = chunk.first_cell; cell < chunk.end_cell; ++cell) {
      const std::int64_t first = member.rows_before[cell];
      const std::int64_t count = member.rows_before[cell + 1] - first;
      if (count == 0) continue;
      Key* const words = member.words + first;
      check_positives(words, count, member.positives_before[cell + 1] - member.positives_before[cell]);
      if (sort_one_key(words, count)) continue;
      reserve(scratch.sorted, count);
      sort_words_(words, count, member.cells.free_bits(cell) + 1, scratch.sorted.data());
    }
  }

  // No branch depends on a score or a label: each word is written, and kept if it is the last one of its key.
  void find_thresholds(const Chunk& chunk, Thresholds& found) const {
    const CellClass<Key>& member = members_[chunk.member];
    const auto& rows_before = member.rows_before;
    found.reset(rows_before[chunk.end_cell] - rows_before[chunk.first_cell]);
    std::uint32_t* const tp = found.tp.data();
    std::uint32_t* const reached = found.reached.data();
    std::uint32_t* const at = found.word.data();
    std::uint32_t hits = tp[0] = member.positives_before[chunk.first_cell];
    reached[0] = rows_before[chunk.first_cell];
    std::int64_t end = 1;
    for (std::int64_t cell = chunk.first_cell; cell < chunk.end_cell; ++cell) {
      const std::uint32_t stop = rows_before[cell + 1];
      for (std::uint32_t i = rows_before[cell]; i < stop; ++i) {
        const Key word = member.words[i];
        hits += static_cast<std::uint32_t>(word & 1);
        tp[end] = hits;
        reached[end] = i + 1;
        at[end] = i;
        end += static_cast<std::int64_t>(i + 1 == stop || member.words[i + 1] >> 1 != word >> 1);
      }
    }
    found.count = end - 1;
    // Between chunks, at most one key is read once more: that of the next cell with rows.
    std::int64_t cell = chunk.end_cell;
    while (cell < member.cells.count() && rows_before[cell + 1] == rows_before[cell]) ++cell;
    tp[end] = hits;
    reached[end] = rows_before[chunk.end_cell];
    if (cell == member.cells.count()) return;
    const std::uint32_t first = rows_before[cell];
    for (std::uint32_t i = first; i < rows_before[cell + 1]; ++i) {
      if (member.words[i] >> 1 != member.words[first] >> 1) break;
      tp[end] += static_cast<std::uint32_t>(member.words[i] & 1);
      ++reached[end];
    }
  }

  // Calls keep(i) for the elements i of the kept thresholds of a chunk.
  template <class Keep>
  void for_each_kept(std::int64_t r, const Chunk& chunk, const Thresholds& of, const Keep& keep) const {
    const std::uint32_t all = members_[chunk.member].rows_before.back();
    const auto is_end = [&](std::int64_t i) { return of.reached[i - 1] == 0 || of.reached[i] == all; };
    const auto for_each = [&](const auto& is_kept) {
      for (std::int64_t i = 1; i <= of.count; ++i) {
        if (is_kept(i)) keep(i);
      }
    };
    switch (requests_[r].kept) {
      case KeptThresholds::kAll:
        for_each([](std::int64_t) { return true; });
        break;
      case KeptThresholds::kHitChanges:
        for_each([&](std::int64_t i) { return changes(of.tp, i) || is_end(i); });
        break;
      case KeptThresholds::kCorners:
        for_each([&](std::int64_t i) { return bends(of.tp, i) || bends(of.reached, i) || is_end(i); });
        break;
    }
  }

  // Places the chunks of all classes in the columns, and makes the columns as long as that.
  void make_room() {
    slots_.resize(kept_.count());
    const std::int64_t num_requests = requests_.count();
    for (std::int64_t r = 0; r < num_requests; ++r) {
      ScoreCurves& curve = curves_[r];
      for (std::int64_t m = 0; m < members_.count(); ++m) {
        const CellClass<Key>& member = members_[m];
        std::int64_t all = 0;
        for (std::int64_t i = member.first_chunk; i < member.end_chunk; ++i) all += kept_[i * num_requests + r];
        std::int64_t before = 0;
        std::int64_t to = curve.offset.back();
        for (std::int64_t i = member.first_chunk; i < member.end_chunk; ++i) {
          const std::int64_t kept = kept_[i * num_requests + r];
          slots_[i * num_requests + r] = {before, all, to};
          to += taken(requests_[r], before, before + kept, all);
          before += kept;
        }
        curve.offset.push_back(to);
        curve.kept.push_back(all);
      }
      const std::int64_t size = curve.offset.back();
      grow(std::get<TableColumn<Lane>>(curve.thresholds), size);
      grow(curve.tp, size);
      grow(curve.reached, size);
    }
  }

  template <class Column>
  static void grow(Column& column, std::int64_t size) {
    const auto wanted = static_cast<std::size_t>(size);
    if (!column.empty() && column.capacity() < wanted) column.reserve(std::max(wanted, 2 * column.size()));
    column.resize(size);
  }

  // The first kept threshold from `begin` on that a request takes, of `all` in the class.
  static std::int64_t next_taken(const CurveRequest& request, std::int64_t begin, std::int64_t all) {
    const std::int64_t last = all - 1 - request.first;  // from the lowest: the numbers descend from this one
    if (request.from_lowest && last < 0) return all;
    const std::int64_t first = request.from_lowest ? last % request.step : request.first;
    if (begin <= first) return first;
    return first + (begin - first + request.step - 1) / request.step * request.step;
  }
  static std::int64_t end_taken(const CurveRequest& request, std::int64_t all) {
    return request.from_lowest ? std::max<std::int64_t>(0, all - request.first) : all;
  }
  // The number of those from begin to end - 1.
  static std::int64_t taken(const CurveRequest& request, std::int64_t begin, std::int64_t end, std::int64_t all) {
    const std::int64_t first = next_taken(request, begin, all);
    const std::int64_t stop = std::min(end, end_taken(request, all));
    return first >= stop ? 0 : (stop - first + request.step - 1) / request.step;
  }

  void write(std::int64_t r, std::int64_t i, const Thresholds& thresholds) {
    const CurveRequest& request = requests_[r];
    const CellClass<Key>& member = members_[chunks_[i].member];
    ScoreCurves& curve = curves_[r];
    Lane* const lanes = std::get<TableColumn<Lane>>(curve.thresholds).data();
    const std::uint32_t top_from = member.rows_before[member.cells.first_with_top_bit()];
    Slot slot = slots_[i * requests_.count() + r];
    const std::int64_t end = end_taken(request, slot.kept);
    std::int64_t number = slot.before;
    std::int64_t next = next_taken(request, number, slot.kept);
    for_each_kept(r, chunks_[i], thresholds, [&](std::int64_t k) {
      if (number++ != next || next >= end) return;
      next += request.step;
      const std::uint32_t at = thresholds.word[k];
      const Key top = at < top_from ? Key{0} : Key{1} << (8 * sizeof(Key) - 1);
      lanes[slot.to] = lane_of_key<Lane>(member.words[at] >> 1 | top);
      curve.tp[slot.to] = thresholds.tp[k];
      curve.reached[slot.to] = thresholds.reached[k];
      ++slot.to;
    });
  }

  const Array<CurveRequest>& requests_;
  Array<ScoreCurves> curves_;
  Array<Scratch> scratch_;
  Array<std::int64_t> kept_;  // (chunks, requests)
  Array<Slot> slots_;         // (chunks, requests)
  const ScatterWords<Lane> scatter_words_ = scatter_words_kernel<Lane>();
  const SortWords<Key> sort_words_ = sort_words_kernel<Key>();
};

}  // namespace

Array<ScoreCurves> score_curves(const Matrix& scores, const Positives& positives, const Array<CurveRequest>& requests,
                                const Runner& runner) {
  Array<std::int64_t> classes(scores.cols);
  for (std::int64_t c = 0; c < scores.cols; ++c) classes[c] = c;
  return with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const std::int64_t class_bytes = scores.rows * static_cast<std::int64_t>(sizeof(LaneOf<T>));
    CurveScan<T> scan(scores, positives, requests, runner);
    const bool complete = for_each_group(
        classes, class_bytes, runner,
        [&](Span<const std::int64_t> group, const Runner& of_group) { return scan.append(group, of_group); });
    if (!complete) {
      throw_if_nan(scores, runner);
      throw ScoresChanged();
    }
    return scan.take();
  });
}

}  // namespace vltr::cpu
