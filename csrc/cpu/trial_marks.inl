// The kernel of trial_marks.hpp for one instruction set; see rank_scan_tile.inl.
#pragma once

#include <algorithm>
#include <cstring>

#include "cpu/trial_marks.hpp"

#if !defined(VLTR_ISA)
#include "cpu/pack_generic.inl"
#endif

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// The step of a round for each half in [0, count): hashes scaled to the radix. Up to 15 more are written.
inline void list_steps(std::uint32_t count, std::uint32_t key, std::uint32_t radix, std::uint32_t* steps) {
  alignas(64) std::uint32_t halves[16];
  const std::uint32_t zeros[16] = {};
  for (std::uint32_t first = 0; first < count; first += 16) {
    for (std::uint32_t i = 0; i < 16; ++i) halves[i] = first + i;
    Halves step = Halves::load(zeros);
    step.rotate(Halves::load(halves), key, radix);
    step.store(steps + first);
  }
}

// Marks the points of a permutation, before its last round, in the grid.
class PointMarker {
 public:
  PointMarker(const KeyedPermutation& permutation, MarkScratch& scratch)
      : permutation_(permutation),
        pitch_(static_cast<std::uint32_t>(64 * MarkScratch::sizes(permutation).words)),
        grid_(scratch.grid()),
        right_steps_(scratch.right_steps()),
        left_steps_(scratch.left_steps()),
        lefts_(scratch.lefts()),
        rights_(scratch.rights()) {}

  // Marks the points of the indices first .. end - 1.
  void mark(std::uint32_t first, std::uint32_t end) {
    const std::uint32_t left_radix = permutation_.left_radix;
    const std::uint32_t right_radix = permutation_.right_radix;
    list_steps(left_radix, permutation_.round_key[1], right_radix, right_steps_);
    list_steps(right_radix, permutation_.round_key[2], left_radix, left_steps_);
    for (std::uint32_t i = 0; i < right_radix + 16; ++i) left_steps_[right_radix + i] = left_steps_[i % right_radix];
    const std::uint32_t first_row = first / left_radix + (first % left_radix != 0);
    const std::uint32_t end_row = end / left_radix;
    if (first_row > end_row) {
      add_part(end_row, first % left_radix, end % left_radix);
    } else {
      if (first % left_radix != 0) add_part(first_row - 1, first % left_radix, left_radix);
      if (end % left_radix != 0) add_part(end_row, 0, end % left_radix);
      if (first_row < end_row) add_rows(first_row, end_row - first_row);
    }
    flush();
  }

 private:
  // Part of a row: left halves first .. end - 1.
  void add_part(std::uint32_t row, std::uint32_t first, std::uint32_t end) {
    for (std::uint32_t i = first; i < end; ++i) {
      const std::uint32_t left = rotate_half(i, row, permutation_.round_key[0], permutation_.left_radix);
      const std::uint32_t right = wrapped(row + right_steps_[left], permutation_.right_radix);
      lefts_[filled_] = wrapped(left + left_steps_[right], permutation_.left_radix);
      rights_[filled_] = right;
      if (++filled_ >= MarkScratch::kBuffer) flush();
    }
  }
  // Whole rows. The first round permutes each row. After the second, the right halves of a column are consecutive.
  void add_rows(std::uint32_t first, std::uint32_t count) {
    const std::uint32_t left_radix = permutation_.left_radix;
    const std::uint32_t right_radix = permutation_.right_radix;
    for (std::uint32_t left = 0; left < left_radix; ++left) {
      const std::uint32_t start = wrapped(first + right_steps_[left], right_radix);
      const std::uint32_t* const steps = left_steps_ + start;
      std::uint32_t* const lefts = lefts_ + filled_;
      std::uint32_t* const rights = rights_ + filled_;
      for (std::uint32_t i = 0; i < count; ++i) {
        lefts[i] = wrapped(left + steps[i], left_radix);
        rights[i] = wrapped(start + i, right_radix);
      }
      filled_ += count;
      if (filled_ >= MarkScratch::kBuffer) flush();
    }
  }
  static std::uint32_t wrapped(std::uint32_t sum, std::uint32_t radix) { return std::min(sum, sum - radix); }

  // The other rounds but the last, then the marks.
  void flush() {
    constexpr int kChains = 4;  // of dependent operations, which the processor overlaps
    for (std::int64_t first = 0; first < filled_; first += 16 * kChains) {
      std::uint32_t* const lefts = lefts_ + first;
      std::uint32_t* const rights = rights_ + first;
      Halves left[kChains];
      Halves right[kChains];
      for (int i = 0; i < kChains; ++i) {
        left[i] = Halves::load(lefts + 16 * i);
        right[i] = Halves::load(rights + 16 * i);
      }
      for (int round = 3; round + 1 < permutation_.rounds; round += 2) {
        for (Halves& half : right)
          half.rotate(left[&half - right], permutation_.round_key[round], permutation_.right_radix);
        for (Halves& half : left)
          half.rotate(right[&half - left], permutation_.round_key[round + 1], permutation_.left_radix);
      }
      for (int i = 0; i < kChains; ++i) {
        left[i].store(lefts + 16 * i);
        right[i].store(rights + 16 * i);
      }
      for (int i = 0; i < 16 * kChains; ++i) lefts[i] = lefts[i] * pitch_ + rights[i];
    }
    std::uint64_t* const grid = grid_;
    const std::uint32_t* const points = lefts_;
    const std::int64_t filled = filled_;
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < filled; ++i) grid[points[i] / 64] |= std::uint64_t{1} << (points[i] % 64);
    filled_ = 0;
  }

  const KeyedPermutation& permutation_;
  std::uint32_t pitch_;
  std::uint64_t* grid_;
  std::uint32_t* right_steps_;
  std::uint32_t* left_steps_;
  std::uint32_t* lefts_;
  std::uint32_t* rights_;
  std::int64_t filled_ = 0;
};

// The last round rotates each column. Writes the bit of right half r and left half l to bit r % 64 of word
// r / 64 * columns + l, and clears the grid.
inline void rotate_columns(const KeyedPermutation& permutation, MarkScratch& scratch, std::uint64_t* plane) {
  const auto [columns, words] = MarkScratch::sizes(permutation);
  const std::uint32_t radix = permutation.right_radix;
  std::uint32_t* const steps = scratch.last_steps();
  list_steps(permutation.left_radix, permutation.round_key[permutation.rounds - 1], radix, steps);
  std::uint64_t* const doubled = scratch.doubled();
  std::uint64_t* column = scratch.grid();
  const std::int64_t whole = radix / 64;
  const int bits = static_cast<int>(radix % 64);
  const std::uint64_t last_bits = bits == 0 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
  for (std::uint32_t left = 0; left < permutation.left_radix; ++left, column += words) {
    // The column twice, one after the other, and then the part of it that begins at radix - step.
    std::uint64_t carry = 0;
    for (std::int64_t i = 0; i < words; ++i) doubled[i] = column[i];
    for (std::int64_t i = 0; i < words; ++i) {
      doubled[whole + i] = (i + whole < words ? doubled[whole + i] : 0) | column[i] << bits | carry;
      carry = column[i] >> 1 >> (63 - bits);
      column[i] = 0;
    }
    doubled[whole + words] = carry;
    const std::uint32_t begin = radix - steps[left];
    const std::uint64_t* const from = doubled + begin / 64;
    const int shift = static_cast<int>(begin % 64);
    std::uint64_t* const out = plane + left;
    for (std::int64_t i = 0; i < words; ++i) out[i * columns] = from[i] >> shift | from[i + 1] << 1 << (63 - shift);
    out[(words - 1) * columns] &= last_bits;
  }
  for (std::int64_t left = permutation.left_radix; left < columns; ++left) {
    for (std::int64_t i = 0; i < words; ++i) plane[i * columns + left] = 0;
  }
}

// Moves the marks of points beyond the end to the points to which the permutation takes them.
inline void walk_outside(const KeyedPermutation& permutation, std::uint64_t* plane) {
  const std::int64_t columns = MarkScratch::sizes(permutation).columns;
  const std::uint32_t left_radix = permutation.left_radix;
  const std::uint32_t last = permutation.right_radix - 1;
  const std::uint32_t edge = permutation.size - last * left_radix;
  const std::uint64_t bit = std::uint64_t{1} << (last % 64);
  std::uint64_t* const row = plane + last / 64 * columns;
  for (std::uint32_t left = edge; left < left_radix; ++left) {
    if ((row[left] & bit) == 0) continue;
    row[left] &= ~bit;
    const std::uint32_t point = permute(permutation, last * left_radix + left);
    const std::uint32_t right = point / left_radix;
    plane[right / 64 * columns + point % left_radix] |= std::uint64_t{1} << (right % 64);
  }
}

using Words = std::uint64_t __attribute__((vector_size(64), aligned(8), may_alias));

// Transposes the planes of the trials of a Mark: marks[number] has one bit for each trial.
template <class Mark>
void transpose_planes(const KeyedPermutation& permutation, const std::uint64_t* planes, std::int64_t count,
                      Mark* marks) {
  constexpr int kLanes = 8 * sizeof(Mark);
  const auto [columns, words] = MarkScratch::sizes(permutation);
  const std::int64_t left_radix = permutation.left_radix;
  for (std::int64_t word = 0; word < words; ++word) {
    for (std::int64_t left = 0; left < left_radix; left += 8) {
      Words block[kLanes];
      for (std::int64_t i = 0; i < kLanes; ++i) {
        if (i < count) {
          std::memcpy(&block[i], planes + (i * words + word) * columns + left, sizeof(Words));
        } else {
          block[i] = Words{};
        }
      }
      std::uint64_t mask = ~std::uint64_t{0};
      for (int size = 32; size >= 1; size /= 2) {
        mask ^= mask << size;  // the low half of each 2 * size bits
        if (size >= kLanes) continue;
        for (int group = 0; group < kLanes; group += 2 * size) {
          for (int i = group; i < group + size; ++i) {
            const Words swapped = ((block[i] >> size) ^ block[i + size]) & mask;
            block[i + size] ^= swapped;
            block[i] ^= swapped << size;
          }
        }
      }
      const std::int64_t wide = std::min<std::int64_t>(8, left_radix - left);
      for (int field = 0; field < 64; field += kLanes) {
        for (int i = 0; i < kLanes; ++i) {
          const std::int64_t right = 64 * word + field + i;
          if (right >= permutation.right_radix) break;
          Mark out[8];
          for (int j = 0; j < 8; ++j) out[j] = static_cast<Mark>(block[i][j] >> field);
          Mark* const to = marks + right * left_radix + left;
          if (wide == 8) {
            std::memcpy(to, out, sizeof(out));
          } else {
            std::memcpy(to, out, static_cast<std::size_t>(wide) * sizeof(Mark));
          }
        }
      }
    }
  }
}

// The walk. kComplement: the marks are those of the negatives that a trial does not draw.
template <class Mark, bool kComplement>
void count_marks(const MarkedClass& marked, const Mark* marks, std::int64_t count, double* out, std::int64_t stride) {
  constexpr int kLanes = 8 * sizeof(Mark);
  constexpr std::int64_t kChunk = 255;  // so that a count within a chunk fits in a byte
  alignas(64) std::uint8_t counted[kChunk + 1][kLanes];
  alignas(64) std::int32_t total[kLanes] = {};
  alignas(64) double sum[kLanes] = {};
  double previous = 0.0;
  const std::int64_t reaching = marked.keys == 0 ? 0 : marked.fp[marked.keys - 1];
  std::int64_t k = 0;
  for (std::int64_t first = 0; k < marked.keys; first += kChunk) {
    const std::uint32_t* const by_score = marked.by_score + first;
    const std::int64_t filled = std::min(kChunk, reaching - first);
    MarkCounts<Mark> counts;
    counts.clear();
    counts.store(counted[0]);
    for (std::int64_t i = 0; i < filled; ++i) {
      counts.add(marks[by_score[i]]);
      counts.store(counted[i + 1]);
    }
    for (; k < marked.keys && marked.fp[k] <= first + filled; ++k) {
      const double hits = static_cast<double>(marked.tp[k]);
      const double gain = hits - previous;
      const double reached = static_cast<double>(marked.fp[k]);
      const std::uint8_t* const in_chunk = counted[marked.fp[k] - first];
      for (int i = 0; i < kLanes; ++i) {
        const double found = static_cast<double>(total[i] + in_chunk[i]);
        sum[i] += gain * (hits / (hits + (kComplement ? reached - found : found)));  // sampled_summand
      }
      previous = hits;
    }
    for (int i = 0; i < kLanes; ++i) total[i] += counted[filled][i];
  }
  for (std::int64_t i = 0; i < count; ++i) out[i * stride] = sum[i] / previous;
}

template <class Mark>
void average_marked_as(const MarkedClass& marked, std::int64_t first, std::int64_t count, MarkScratch& scratch,
                       double* out, std::int64_t stride) {
  KeyedPermutation permutation = permutation_grid(marked.negatives);
  scratch.prepare(permutation, 8 * sizeof(Mark));
  const bool complement = marked.draws > marked.negatives / 2;
  const auto [columns, words] = MarkScratch::sizes(permutation);
  for (std::int64_t i = 0; i < count; ++i) {
    set_keys(permutation, marked.seed, marked.cls, static_cast<std::uint32_t>(first + i));
    PointMarker marker(permutation, scratch);
    marker.mark(complement ? marked.draws : 0, complement ? marked.negatives : marked.draws);
    std::uint64_t* const plane = scratch.planes() + i * columns * words;
    rotate_columns(permutation, scratch, plane);
    walk_outside(permutation, plane);
  }
  Mark* const marks = reinterpret_cast<Mark*>(scratch.marks());
  transpose_planes(permutation, scratch.planes(), count, marks);
  (complement ? &count_marks<Mark, true> : &count_marks<Mark, false>)(marked, marks, count, out, stride);
}

void average_marked(const MarkedClass& marked, std::int64_t first, std::int64_t count, MarkScratch& scratch,
                    double* out, std::int64_t stride) {
  if (count <= 8) return average_marked_as<std::uint8_t>(marked, first, count, scratch, out, stride);
  if (count <= 16) return average_marked_as<std::uint16_t>(marked, first, count, scratch, out, stride);
  if (count <= 32) return average_marked_as<std::uint32_t>(marked, first, count, scratch, out, stride);
  average_marked_as<std::uint64_t>(marked, first, count, scratch, out, stride);
}

// The function of the core, compiled for this instruction set.
__attribute__((flatten)) void average_counted(const std::int64_t* tp, const std::int32_t* drawn, std::int64_t count,
                                              double* ap) {
  sampled_average_precisions(tp, drawn, count, ap);
}

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
