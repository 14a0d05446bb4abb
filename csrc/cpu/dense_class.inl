// The kernels of dense_class.hpp for one instruction set. Each rank_scan_*.cpp includes it after rank_scan_tile.inl.
#pragma once

#include "cpu/dense_class.hpp"
#include "cpu/rank_scan_tile.inl"

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// The words of a tile are made in one loop, which is vectorised, and find their cells in another.
template <class Lane>
void make_keys(const Lane* lanes, std::int64_t rows, SortKey<Lane>* keys) {
  for (std::int64_t i = 0; i < rows; ++i) keys[i] = sort_key(lanes[i]);
}

template <class Lane>
void count_cells(const KeyCells<SortKey<Lane>>& cells, const Lane* lanes, const std::uint8_t* labels, std::int64_t rows,
                 std::uint64_t* counts) {
  alignas(64) SortKey<Lane> keys[kTileRows];
  make_keys(lanes, rows, keys);
  for (std::int64_t i = 0; i < rows; ++i) counts[cells.of(keys[i])] += kOneRow + labels[i] * kOnePositive;
}

template <class Lane>
void scatter_words(const KeyCells<SortKey<Lane>>& cells, const Lane* lanes, const std::uint8_t* labels,
                   std::int64_t rows, std::uint32_t last, std::uint32_t* next, SortKey<Lane>* words) {
  alignas(64) SortKey<Lane> keys[kTileRows];
  make_keys(lanes, rows, keys);
  for (std::int64_t i = 0; i < rows; ++i) {
    words[std::min(next[cells.of(keys[i])]++, last)] = word_of(keys[i], labels[i]);
  }
}

template <class Lane>
void scatter_weights(const KeyCells<SortKey<Lane>>& cells, const Lane* lanes, const std::uint8_t* labels,
                     std::int64_t rows, const double* weights, std::int64_t weightings, std::int64_t stride,
                     std::uint32_t last, std::uint32_t* next, SortKey<Lane>* words, double* of_words) {
  alignas(64) SortKey<Lane> keys[kTileRows];
  make_keys(lanes, rows, keys);
  if (weightings == 1) {
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::uint32_t to = std::min(next[cells.of(keys[i])]++, last);
      words[to] = word_of(keys[i], labels[i]);
      of_words[to] = weights[i];
    }
    return;
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::uint32_t to = std::min(next[cells.of(keys[i])]++, last);
    words[to] = word_of(keys[i], labels[i]);
    for (std::int64_t w = 0; w < weightings; ++w) of_words[to * weightings + w] = weights[w * stride + i];
  }
}

template <class Key>
Key bits_of(Key word) {
  return word;
}

template <class Key>
Key bits_of(const PlacedWord<Key>& placed) {
  return placed.word;
}

// Least significant digit first. A digit has few bits if there are few words, because its counters cost time as well.
template <class Element>
void sort_words(Element* words, std::int64_t count, int bits, Element* scratch) {
  using Key = decltype(bits_of(*words));
  constexpr std::int64_t kFew = 48;
  if (count <= kFew) {
    std::sort(words, words + count, [](const Element& a, const Element& b) { return bits_of(a) < bits_of(b); });
    return;
  }
  constexpr int kMostBits = 11;
  constexpr int kMostDigits = (8 * static_cast<int>(sizeof(Key)) + 7) / 8;
  const int widest = count < 1024 ? 8 : kMostBits;
  const int digits = (bits + widest - 1) / widest;
  const int width = (bits + digits - 1) / digits;
  const auto mask = (Key{1} << width) - 1;
  std::uint32_t counts[kMostDigits][1 << kMostBits];
  with_levels(digits, [&](auto constant_digits) {
    constexpr int kDigits = std::min<int>(decltype(constant_digits)::value, kMostDigits);
    for (int digit = 0; digit < kDigits; ++digit) std::fill(counts[digit], counts[digit] + mask + 1, 0u);
    for (std::int64_t i = 0; i < count; ++i) {
      for (int digit = 0; digit < kDigits; ++digit) ++counts[digit][bits_of(words[i]) >> (digit * width) & mask];
    }
  });
  Element* from = words;
  Element* to = scratch;
  for (int digit = 0; digit < digits; ++digit) {
    std::uint32_t* const next = counts[digit];
    std::uint32_t before = 0;
    for (Key value = 0; value <= mask; ++value) {
      const std::uint32_t number = next[value];
      next[value] = before;
      before += number;
    }
    const int shift = digit * width;
    for (std::int64_t i = 0; i < count; ++i) to[next[bits_of(from[i]) >> shift & mask]++] = from[i];
    std::swap(from, to);
  }
  if (from != words) std::copy(from, from + count, words);
}

// A threshold is the last positive of its key, which is the last word of its key. No branch depends on a label.
template <class Key>
void append_steps(const Key* words, std::int64_t count, std::uint32_t rows, std::uint32_t positives, Steps& steps) {
  std::uint32_t* const rows_to = steps.rows.data();
  std::uint32_t* const positives_to = steps.positives.data();
  std::uint32_t* const tied = steps.tied.data();
  std::int64_t end = steps.count;
  Key key = words[0] >> 1;
  std::uint32_t negatives = 0;  // of this key
  for (std::int64_t i = 0; i < count; ++i) {
    const Key word = words[i];
    const auto label = static_cast<std::uint32_t>(word & 1);
    negatives = (word >> 1 == key ? negatives : 0) + (1 - label);
    key = word >> 1;
    positives += label;
    rows_to[end] = ++rows;
    positives_to[end] = positives;
    tied[end] = negatives;
    end += label & static_cast<std::uint32_t>(i + 1 == count || words[i + 1] != word);
  }
  steps.count = end;
}

void precision_summands(const Steps& steps, std::int64_t rows, std::int64_t positives, double* summands) {
  const auto rows_before = static_cast<double>(rows);
  const auto positives_before = static_cast<double>(positives);
  const std::uint32_t* const rows_to = steps.rows.data();
  const std::uint32_t* const positives_to = steps.positives.data();
  for (std::int64_t k = 0; k < steps.count; ++k) {
    const std::uint32_t previous = k == 0 ? 0 : positives_to[k - 1];
    const double tp = positives_before + static_cast<double>(positives_to[k]);
    const double reach = rows_before + static_cast<double>(rows_to[k]);
    summands[k] = static_cast<double>(positives_to[k] - previous) * (tp / reach);
  }
}

template <class Key>
void sum_weights(const Key* words, std::int64_t count, const double* weights, std::int64_t stride, int largest_exponent,
                 WeightSums& sums) {
  WeightSums total = sums;
  for (std::int64_t i = 0; i < count; ++i) {
    const Wide weight = scaled_weight(weights[i * stride], largest_exponent);
    total.all += weight;
    total.positive += weight & -static_cast<Wide>(words[i] & 1);
  }
  sums = total;
}

// As in append_steps(), no branch depends on a label: the sums of each word are written, and kept at thresholds alone.
template <class Key>
std::int64_t weighted_summands(const PlacedWord<Key>* words, std::int64_t count, const double* weights,
                               std::int64_t stride, int largest_exponent, WeightSums& sums, double* summands) {
  constexpr std::int64_t kBlock = 256;
  double of_words[kBlock];
  Wide scaled[kBlock];
  Wide at_least[kBlock + 1];  // of thresholds
  Wide hits[kBlock + 1];
  Wide all = sums.all;
  Wide positive = sums.positive;
  Wide previous = positive;
  std::int64_t written = 0;
  for (std::int64_t first = 0; first < count; first += kBlock) {
    const std::int64_t end = std::min(count, first + kBlock);
    // Alone, so that many loads are under way at a time.
    for (std::int64_t i = first; i < end; ++i) of_words[i - first] = weights[words[i].position * stride];
    for (std::int64_t i = 0; i < end - first; ++i) scaled[i] = scaled_weight(of_words[i], largest_exponent);
    std::int64_t found = 0;
    for (std::int64_t i = first; i < end; ++i) {
      const Key word = words[i].word;
      all += scaled[i - first];
      positive += scaled[i - first] & -static_cast<Wide>(word & 1);
      at_least[found] = all;
      hits[found] = positive;
      found +=
          static_cast<std::int64_t>(word & 1) & static_cast<std::int64_t>(i + 1 == count || words[i + 1].word != word);
    }
    for (std::int64_t k = 0; k < found; ++k) {
      summands[written++] = weighted_summand(hits[k] - previous, hits[k], at_least[k]);
      previous = hits[k];
    }
  }
  sums = {all, positive};
  return written;
}

#define VLTR_KERNELS(Lane)                                                                                            \
  template void count_cells<Lane>(const KeyCells<SortKey<Lane>>&, const Lane*, const std::uint8_t*, std::int64_t,     \
                                  std::uint64_t*);                                                                    \
  template void scatter_words<Lane>(const KeyCells<SortKey<Lane>>&, const Lane*, const std::uint8_t*, std::int64_t,   \
                                    std::uint32_t, std::uint32_t*, SortKey<Lane>*);                                   \
  template void scatter_weights<Lane>(const KeyCells<SortKey<Lane>>&, const Lane*, const std::uint8_t*, std::int64_t, \
                                      const double*, std::int64_t, std::int64_t, std::uint32_t, std::uint32_t*,       \
                                      SortKey<Lane>*, double*);
VLTR_KERNELS(float)
VLTR_KERNELS(double)
VLTR_KERNELS(std::int64_t)
#undef VLTR_KERNELS
#define VLTR_KERNELS(Key)                                                                                              \
  template void sort_words<Key>(Key*, std::int64_t, int, Key*);                                                        \
  template void sort_words<PlacedWord<Key>>(PlacedWord<Key>*, std::int64_t, int, PlacedWord<Key>*);                    \
  template void append_steps<Key>(const Key*, std::int64_t, std::uint32_t, std::uint32_t, Steps&);                     \
  template void sum_weights<Key>(const Key*, std::int64_t, const double*, std::int64_t, int, WeightSums&);             \
  template std::int64_t weighted_summands<Key>(const PlacedWord<Key>*, std::int64_t, const double*, std::int64_t, int, \
                                               WeightSums&, double*);
VLTR_KERNELS(std::uint32_t)
VLTR_KERNELS(std::uint64_t)
#undef VLTR_KERNELS

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
