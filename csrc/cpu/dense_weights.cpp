#include "cpu/dense_weights.hpp"

#include "cpu/cell_scan.hpp"

namespace vltr::cpu {
namespace {

template <class T>
class WeightScan : CellScan<T> {
  using Base = CellScan<T>;
  using Base::chunks_;
  using Base::members_;
  using Base::scores_;
  using Base::weightings_;
  using typename Base::Key;
  using typename Base::Lane;

 public:
  WeightScan(const Matrix& scores, const Positives& positives, const double* weights, const Array<int>& exponents,
             const Runner& runner, double* out)
      : Base(scores, positives, exponents.count(), runner),
        weights_(weights),
        exponents_(exponents),
        out_(out),
        scratch_(std::max(runner.threads, 1)) {}

  // Weighs classes that are scanned together.
  bool weigh(Span<const std::int64_t> classes, const Runner& runner) {
    const auto cells = static_cast<double>(scores_.rows) * static_cast<double>(classes.size());
    const auto weighings = cells * static_cast<double>(weightings_);
    const Phases phases(runner, {2.0 * cells, 3.0 * cells + weighings, 2.0 * weighings, 5.0 * cells + 6.0 * weighings});
    if (!this->count_cells(classes, phases.phase(0))) return false;
    reserve(of_words_, scores_.rows * classes.size() * weightings_);
    this->read_slices(phases.phase(1), [&](std::int64_t m, std::int64_t of_slice, const Tile& tile, const Lane* lanes,
                                           const std::uint8_t* labels) {
      CellClass<Key>& member = members_[m];
      const double* weights = weights_ + tile.first_row;
      std::int64_t stride = scores_.rows;
      Array<double> of_known;
      if (unknown_count(scores_.unknown, member.cls) != 0) {
        weigh_known(tile, member.cls, of_known);
        weights = of_known.data();
        stride = tile.rows;
      }
      scatter_weights_(member.cells, lanes, labels, tile.rows, weights, weightings_, stride,
                       static_cast<std::uint32_t>(scores_.rows - 1), member.next.data() + of_slice, member.words,
                       weights_of(m));
    });
    sum_chunks(phases.phase(2));
    phases.phase(3).run(chunks_.count(), [&](std::int64_t i, int worker) { sort_chunk(i, scratch_[worker]); });
    for (const CellClass<Key>& member : members_) {
      const WeightSums* const last = sums_.data() + (member.end_chunk - 1) * weightings_;
      for (std::int64_t w = 0; w < weightings_; ++w) {
        out_[w * scores_.cols + member.cls] = mean_over_weights(member.sums[w], last[w].positive);
      }
    }
    return true;
  }

 private:
  struct Scratch {
    Array<PlacedWord<Key>> words;
    Array<PlacedWord<Key>> sorted;
  };

  // The weights of the rows of a tile, 0 where they do not know a class: (weightings, rows).
  void weigh_known(const Tile& tile, std::int64_t c, Array<double>& weights) const {
    Array<RowMask> scratch;
    const RowMask* const known = KnownRows(scores_).of(tile, c, c + 1, scratch);
    weights.resize(weightings_ * tile.rows);
    for (std::int64_t w = 0; w < weightings_; ++w) {
      const double* const from = weights_ + w * scores_.rows + tile.first_row;
      for (std::int64_t row = 0; row < tile.rows; ++row) {
        weights[w * tile.rows + row] = known == nullptr || known->has(row) ? from[row] : 0.0;
      }
    }
  }

  double* weights_of(std::int64_t m) { return of_words_.data() + m * scores_.rows * weightings_; }

  void sum_words(std::int64_t m, std::int64_t first, std::int64_t count, WeightSums* sums) {
    const double* const weights = weights_of(m) + first * weightings_;
    for (std::int64_t w = 0; w < weightings_; ++w) {
      sum_weights_(members_[m].words + first, count, weights + w, weightings_, exponents_[w], sums[w]);
    }
  }

  // The sums of the rows before each chunk.
  void sum_chunks(const Runner& runner) {
    sums_.assign(chunks_.count() * weightings_, {});
    runner.run(chunks_.count(), [&](std::int64_t i, int) {
      const Chunk& chunk = chunks_[i];
      const CellClass<Key>& member = members_[chunk.member];
      if (i + 1 == member.end_chunk) return;  // no chunk comes after
      const std::int64_t first = member.rows_before[chunk.first_cell];
      WeightSums* const next = sums_.data() + (i + 1) * weightings_;
      sum_words(chunk.member, first, member.rows_before[chunk.end_cell] - first, next);
    });
    for (const CellClass<Key>& member : members_) {
      for (std::int64_t i = (member.first_chunk + 1) * weightings_; i < member.end_chunk * weightings_; ++i) {
        sums_[i].all += sums_[i - weightings_].all;
        sums_[i].positive += sums_[i - weightings_].positive;
      }
    }
  }

  // Sorts the cells of a chunk and adds its summands. After that, its sums include its own rows.
  void sort_chunk(std::int64_t i, Scratch& scratch) {
    Chunk& chunk = chunks_[i];
    const CellClass<Key>& member = members_[chunk.member];
    WeightSums* const sums = sums_.data() + i * weightings_;
    const std::int64_t most =
        member.positives_before[chunk.end_cell] - std::int64_t{member.positives_before[chunk.first_cell]};
    chunk.summands.resize(most * weightings_);
    for (std::int64_t cell = chunk.first_cell; cell < chunk.end_cell; ++cell) {
      const std::int64_t first = member.rows_before[cell];
      const std::int64_t count = member.rows_before[cell + 1] - first;
      if (member.positives_before[cell + 1] == member.positives_before[cell]) {
        sum_words(chunk.member, first, count, sums);
        continue;
      }
      if (scratch.words.count() < count) {
        scratch.words.resize(count);
        scratch.sorted.resize(count);
      }
      check_positives(member.words + first, count, member.positives_before[cell + 1] - member.positives_before[cell]);
      PlacedWord<Key>* const words = scratch.words.data();
      for (std::int64_t k = 0; k < count; ++k) words[k] = {member.words[first + k], static_cast<std::uint32_t>(k)};
      sort_words_(words, count, member.cells.free_bits(cell) + 1, scratch.sorted.data());
      const double* const weights = weights_of(chunk.member) + first * weightings_;
      std::int64_t steps = 0;
      for (std::int64_t w = 0; w < weightings_; ++w) {
        steps = weighted_summands_(words, count, weights + w, weightings_, exponents_[w], sums[w],
                                   chunk.summands.data() + w * most + chunk.steps);
      }
      chunk.steps += steps;
    }
    this->add_in_order(chunk);
  }

  const double* const weights_;
  const Array<int>& exponents_;
  double* const out_;
  Array<Scratch> scratch_;
  LargeArray<double> of_words_;  // (members, N, weightings): the weights of the words, in the same places
  Array<WeightSums> sums_;       // (chunks, weightings)
  const ScatterWeights<Lane> scatter_weights_ = scatter_weights_kernel<Lane>();
  const SumWeights<Key> sum_weights_ = sum_weights_kernel<Key>();
  const SortWords<PlacedWord<Key>> sort_words_ = sort_words_kernel<PlacedWord<Key>>();
  const WeightedSummands<Key> weighted_summands_ = weighted_summands_kernel<Key>();
};

}  // namespace

template <class T>
bool weigh_dense_classes(const Matrix& scores, const Positives& positives, const Array<std::int64_t>& classes,
                         const double* weights, const Array<int>& exponents, const Runner& runner, double* out) {
  const std::int64_t class_bytes =
      scores.rows * static_cast<std::int64_t>(sizeof(LaneOf<T>) + sizeof(double) * exponents.size());
  WeightScan<T> scan(scores, positives, weights, exponents, runner, out);
  return for_each_group(classes, class_bytes, runner, [&](Span<const std::int64_t> group, const Runner& of_group) {
    return scan.weigh(group, of_group);
  });
}

#define VLTR_WEIGH(T)                                                                                              \
  template bool weigh_dense_classes<T>(const Matrix&, const Positives&, const Array<std::int64_t>&, const double*, \
                                       const Array<int>&, const Runner&, double*);
VLTR_FOR_EACH_ELEMENT(VLTR_WEIGH)
#undef VLTR_WEIGH

}  // namespace vltr::cpu
