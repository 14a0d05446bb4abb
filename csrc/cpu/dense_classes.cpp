#include "cpu/dense_classes.hpp"

#include <algorithm>

#include "core/sap_core.hpp"
#include "cpu/cell_scan.hpp"

namespace vltr::cpu {

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

template <class Key>
struct DenseScratch {
  LargeArray<Key> sorted;
  Steps steps;
};

template <class T>
class DenseScan : CellScan<T> {
  using Base = CellScan<T>;
  using Base::chunks_;
  using Base::guard_;
  using Base::members_;
  using Base::scores_;
  using typename Base::Key;
  using typename Base::Lane;

 public:
  DenseScan(const Matrix& scores, const Positives& positives, ClassMetric metric, const Offsets& slot, RankTable& table,
            Array<std::int64_t>& counts, Array<double>& out, const Runner& runner)
      : Base(scores, positives, 1, runner, scores.unknown),
        metric_(metric),
        slot_(slot),
        table_(table),
        counts_(counts),
        out_(out),
        scratch_(std::max(runner.threads, 1)) {}

  // Counts classes that are scanned together.
  bool count(Span<const std::int64_t> classes, const Runner& runner) {
    const auto cells = static_cast<double>(scores_.rows) * static_cast<double>(classes.size());
    const Phases phases(runner, {2.0 * cells, 3.0 * cells, 5.0 * cells});
    if (!this->count_cells(classes, phases.phase(0))) return false;
    twice_wins_.assign(members_.count(), 0);
    this->read_slices(phases.phase(1), [&](std::int64_t m, std::int64_t of_slice, const Tile& tile, const Lane* lanes,
                                           const std::uint8_t* labels) {
      CellClass<Key>& member = members_[m];
      scatter_words_(member.cells, lanes, labels, tile.rows, static_cast<std::uint32_t>(scores_.rows - 1),
                     member.next.data() + of_slice, member.words);
    });
    phases.phase(2).run(chunks_.count(), [&](std::int64_t i, int worker) { sort_chunk(i, scratch_[worker]); });
    for (std::int64_t m = 0; m < members_.count(); ++m) finish(m);
    return true;
  }

 private:
  // Sorts the cells of a chunk and passes its thresholds to the output.
  void sort_chunk(std::int64_t i, DenseScratch<Key>& scratch) {
    Chunk& chunk = chunks_[i];
    CellClass<Key>& member = members_[chunk.member];
    const std::int64_t rows = member.rows_before[chunk.first_cell];
    const std::int64_t positives = member.positives_before[chunk.first_cell];
    Steps& steps = scratch.steps;
    steps.reset(member.positives_before[chunk.end_cell] - positives);
    for (std::int64_t cell = chunk.first_cell; cell < chunk.end_cell; ++cell) {
      const std::int64_t first = member.rows_before[cell];
      const std::int64_t count = member.rows_before[cell + 1] - first;
      const std::int64_t first_positive = member.positives_before[cell];
      if (member.positives_before[cell + 1] == first_positive) continue;
      Key* const words = member.words + first;
      check_positives(words, count, member.positives_before[cell + 1] - first_positive);
      if (!sort_one_key(words, count)) {
        reserve(scratch.sorted, count);
        sort_words_(words, count, member.cells.free_bits(cell) + 1, scratch.sorted.data());
      }
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
    const std::int64_t negatives = negatives_of(member);
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
      twice_wins_[chunk.member] += wins;
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
      this->add_in_order(chunk);
    }
  }

  void finish(std::int64_t m) {
    const CellClass<Key>& member = members_[m];
    switch (metric_) {
      case ClassMetric::kNone:
        counts_[member.cls] = close_chunk_gaps(member);
        break;
      case ClassMetric::kRocAuc:
        out_[member.cls] = roc_auc(twice_wins_[m], member.positives, negatives_of(member));
        break;
      default:
        out_[member.cls] = member.sums[0] / static_cast<double>(member.positives);
    }
  }

  // Each chunk began at its number of positives. Where these have equal scores, it has fewer thresholds.
  std::int64_t close_chunk_gaps(const CellClass<Key>& member) {
    const std::int64_t slot = slot_[member.cls];
    std::int64_t to = slot;
    for (std::int64_t i = member.first_chunk; i < member.end_chunk; ++i) {
      const Chunk& chunk = chunks_[i];
      move_thresholds<Lane>(table_, slot + member.positives_before[chunk.first_cell], chunk.steps, to);
      to += chunk.steps;
    }
    return to - slot;
  }

  std::int64_t negatives_of(const CellClass<Key>& member) const {
    return class_rows(scores_)[member.cls] - member.positives;
  }

  Lane* thresholds() { return std::get<TableColumn<Lane>>(table_.thresholds).data(); }

  const ClassMetric metric_;
  const Offsets& slot_;
  RankTable& table_;
  Array<std::int64_t>& counts_;
  Array<double>& out_;
  Array<DenseScratch<Key>> scratch_;
  Array<Wide> twice_wins_;  // by member
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
  DenseScan<T> scan(scores, positives, metric, slot, table, counts, out, runner);
  return for_each_group(classes, class_bytes, runner, [&](Span<const std::int64_t> group, const Runner& of_group) {
    return scan.count(group, of_group);
  });
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
