// The inner operations on dense classes, compiled for each instruction set.
//
// A class with few positives is searched: each score looks for its place among the thresholds. A dense class is sorted
// instead. The key of a score and the label of its row make one word. The words of a class are first distributed to
// cells, which are ranges of keys, and then sorted within each cell, which fits in a cache. The counts of every
// threshold follow from one walk over the sorted words.
#pragma once

#include "core/sort_key.hpp"
#include "core/weight_core.hpp"
#include "cpu/rank_scan_tile.hpp"

namespace vltr::cpu {

// The cells of a class of keys. A coarse cell is all keys with the same leading bits. A coarse cell with many keys of a
// sample is divided further, so that cells have about the same number of rows, whatever the scores are.
template <class Key>
class KeyCells {
 public:
  // `sample` is some of the keys, ascending. It affects the sizes of the cells only.
  void build(std::int64_t rows, const Array<Key>& sample);

  std::int64_t count() const { return count_; }
  std::int64_t of(Key key) const {
    const Coarse& coarse = coarse_[static_cast<std::int64_t>(key >> shift_)];
    return coarse.first + static_cast<std::int64_t>((key & low_) >> coarse.shift);
  }
  // The number of low bits in which keys of a cell differ.
  int free_bits(std::int64_t cell) const { return free_bits_[cell]; }
  // The keys of this cell and those after it have their top bit set. A word has no room for that bit.
  std::int64_t first_with_top_bit() const { return coarse_[coarse_.count() / 2].first; }

 private:
  struct Coarse {
    std::uint32_t first;
    std::uint32_t shift;
  };
  Array<Coarse> coarse_;
  Array<std::uint8_t> free_bits_;
  int shift_ = 0;
  Key low_ = 0;
  std::int64_t count_ = 0;
};

// The word of a row: its key without the top bit, and its label in the lowest bit. Words of one cell are in the order
// of their keys, and negatives are before positives of the same key.
template <class Key>
Key word_of(Key key, std::uint8_t label) {
  return static_cast<Key>(key << 1 | label);
}

// The rows of a cell: all of them in the low 32 bits and the positives in the high ones.
constexpr std::uint64_t kOneRow = 1;
constexpr std::uint64_t kOnePositive = std::uint64_t{1} << 32;

// Thresholds of consecutive cells, in descending order of the scores.
struct Steps {
  Array<std::uint32_t> rows;       // the rows that reach the threshold, of these cells
  Array<std::uint32_t> positives;  // the positives among them
  Array<std::uint32_t> tied;       // the negatives that equal it
  std::int64_t count = 0;

  // No thresholds, and room for `most` and one more.
  void reset(std::int64_t most) {
    count = 0;
    if (rows.count() > most) return;
    for (auto* column : {&rows, &positives, &tied}) column->resize(most + 1);
  }
};

// Counts the rows of each cell.
template <class Lane>
using CountCells = void (*)(const KeyCells<SortKey<Lane>>& cells, const Lane* lanes, const std::uint8_t* labels,
                            std::int64_t rows, std::uint64_t* counts);

// Writes the word of each row to its cell. next: the position of the next word of each cell. last: the last position of
// the class, which no word passes, even if another thread writes the scores during the call.
template <class Lane>
using ScatterWords = void (*)(const KeyCells<SortKey<Lane>>& cells, const Lane* lanes, const std::uint8_t* labels,
                              std::int64_t rows, std::uint32_t last, std::uint32_t* next, SortKey<Lane>* words);

// A word, and the position of its row in the cell, by which the weights of the row are found.
template <class Key>
struct PlacedWord {
  Key word;
  std::uint32_t position;
};

// Writes the word of each row to its cell, and its weights to the same position. Row i has the weights
// weights[w * stride + i]; in the cells, the weights of a row are side by side.
template <class Lane>
using ScatterWeights = void (*)(const KeyCells<SortKey<Lane>>& cells, const Lane* lanes, const std::uint8_t* labels,
                                std::int64_t rows, const double* weights, std::int64_t weightings, std::int64_t stride,
                                std::uint32_t last, std::uint32_t* next, SortKey<Lane>* words, double* of_words);

// Sorts words that differ in their low `bits` bits alone. Element: a key, or a PlacedWord.
template <class Element>
using SortWords = void (*)(Element* words, std::int64_t count, int bits, Element* scratch);

// Appends the thresholds of the sorted words of a cell. `rows` and `positives` are those of the cells before.
// Overwrites one element after the last threshold.
template <class Key>
using AppendSteps = void (*)(const Key* words, std::int64_t count, std::uint32_t rows, std::uint32_t positives,
                             Steps& steps);

// Writes the summands of AP (ap_core.hpp) of thresholds that come after `rows` rows with `positives` positives.
using PrecisionSummands = void (*)(const Steps& steps, std::int64_t rows, std::int64_t positives, double* summands);

// The scaled weights of all rows so far, and of the positives among them.
struct WeightSums {
  Wide all = 0;
  Wide positive = 0;
};

// Adds the weights of words. `weights` has that of the first word, and is `stride` elements from one to the next.
template <class Key>
using SumWeights = void (*)(const Key* words, std::int64_t count, const double* weights, std::int64_t stride,
                            int largest_exponent, WeightSums& sums);

// Adds the weights of the sorted words of a cell, and writes the summands of weighted AP of their thresholds. Returns
// the number of thresholds. Overwrites no element after the last one.
template <class Key>
using WeightedSummands = std::int64_t (*)(const PlacedWord<Key>* words, std::int64_t count, const double* weights,
                                          std::int64_t stride, int largest_exponent, WeightSums& sums,
                                          double* summands);

template <class Lane>
CountCells<Lane> count_cells_kernel();
template <class Lane>
ScatterWords<Lane> scatter_words_kernel();
template <class Lane>
ScatterWeights<Lane> scatter_weights_kernel();
template <class Element>
SortWords<Element> sort_words_kernel();
template <class Key>
AppendSteps<Key> append_steps_kernel();
PrecisionSummands precision_summands_kernel();
template <class Key>
SumWeights<Key> sum_weights_kernel();
template <class Key>
WeightedSummands<Key> weighted_summands_kernel();

#define VLTR_DECLARE_KERNELS(isa)                                                                                     \
  namespace isa {                                                                                                     \
  template <class Lane>                                                                                               \
  void count_cells(const KeyCells<SortKey<Lane>>&, const Lane*, const std::uint8_t*, std::int64_t, std::uint64_t*);   \
  template <class Lane>                                                                                               \
  void scatter_words(const KeyCells<SortKey<Lane>>&, const Lane*, const std::uint8_t*, std::int64_t, std::uint32_t,   \
                     std::uint32_t*, SortKey<Lane>*);                                                                 \
  template <class Lane>                                                                                               \
  void scatter_weights(const KeyCells<SortKey<Lane>>&, const Lane*, const std::uint8_t*, std::int64_t, const double*, \
                       std::int64_t, std::int64_t, std::uint32_t, std::uint32_t*, SortKey<Lane>*, double*);           \
  template <class Element>                                                                                            \
  void sort_words(Element*, std::int64_t, int, Element*);                                                             \
  template <class Key>                                                                                                \
  void append_steps(const Key*, std::int64_t, std::uint32_t, std::uint32_t, Steps&);                                  \
  void precision_summands(const Steps&, std::int64_t, std::int64_t, double*);                                         \
  template <class Key>                                                                                                \
  void sum_weights(const Key*, std::int64_t, const double*, std::int64_t, int, WeightSums&);                          \
  template <class Key>                                                                                                \
  std::int64_t weighted_summands(const PlacedWord<Key>*, std::int64_t, const double*, std::int64_t, int, WeightSums&, \
                                 double*);                                                                            \
  }
VLTR_FOR_EACH_ISA(VLTR_DECLARE_KERNELS)
#undef VLTR_DECLARE_KERNELS

}  // namespace vltr::cpu
