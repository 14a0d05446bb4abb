// The drawn negatives of classes and trials: lists of their rows, and their order in one pass over the score matrix.
#pragma once

#include "core/large_array.hpp"
#include "cpu/rank_scan_tile.hpp"

namespace vltr::cpu {

// The number of negatives that each trial of a class draws: its number of positives. 0 if the class has no more
// negatives than that: every trial then has all negatives, and its AP is the AP of the class.
inline std::int64_t draws_per_trial(std::int64_t positives, std::int64_t negatives) {
  return positives < negatives ? positives : 0;
}
std::int64_t draws_per_trial(const Positives& positives, const ClassRows& rows, std::int64_t c);

// Trials first .. first + count - 1.
struct Trials {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

// (C + 1): the first draw of each class in the list of all draws: class after class, trial after trial, in draw order.
Offsets draw_offsets(const Positives& positives, const ClassRows& rows, const Trials& trials);

// Lists the rows of draws, class after class.
class DrawLister {
 public:
  DrawLister(std::int64_t rows, std::uint64_t seed) : rows_(static_cast<std::uint32_t>(rows)), seed_(seed) {}
  // Writes the rows that the trials of a class draw, `draws` each. excluded: the rows that are no negatives, ascending.
  // There must be more negatives than draws. Memory O(excluded), for any number of rows.
  void list(Span<const std::uint32_t> excluded, std::uint32_t draws, std::uint32_t cls, const Trials& trials,
            std::uint32_t* out);

 private:
  std::uint32_t rows_;
  std::uint64_t seed_;
  DrawNumbers draw_numbers_ = draw_numbers_kernel();
  Array<std::uint32_t> displaced_;
  std::vector<bool> may_be_excluded_;
};

// Writes the rows that trials draw from all classes. unknown: null if all cells are known. offset: from draw_offsets().
void draw_rows(const Positives& positives, std::int64_t rows, const UnknownCells* unknown, const Trials& trials,
               std::uint64_t seed, const Offsets& offset, std::uint32_t* out, const Runner& runner);

struct DrawPlan {
  Offsets slot_offset;                // (C + 1): draws of class c in (trial, draw) order
  Offsets item_offset;                // (items + 1) into draws
  LargeArray<Draw> draws;             // by item, ascending by slot in each
  LargeArray<std::uint32_t> reached;  // by slot: the number of thresholds that the drawn score reaches

  static constexpr std::int64_t kBytesPerDraw = sizeof(Draw) + sizeof(std::uint32_t);
};

DrawPlan plan_draws(const Positives& positives, const Matrix& scores, const Array<Tile>& tiles, std::int64_t trials,
                    std::uint64_t seed, const Runner& runner);

}  // namespace vltr::cpu
