// The drawn negatives of classes and trials: their rows, and these laid out for one pass over the score matrix.
#pragma once

#include "cpu/large_array.hpp"
#include "cpu/scan_tile.hpp"

namespace vltr::cpu {

// Negatives that each trial of a class draws: as many as it has positives. 0 when it has no more negatives than that:
// every trial then holds all of them, and is the AP of the class itself.
inline std::int64_t draws_per_trial(std::int64_t positives, std::int64_t rows) {
  return positives < rows - positives ? positives : 0;
}
std::int64_t draws_per_trial(const Positives& positives, std::int64_t rows, std::int64_t c);

// Trials first .. first + count - 1.
struct Trials {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

// Where the draws of each class begin, (C + 1), in a list of all: class after class, trial after trial, in draw order.
std::vector<std::int64_t> draw_offsets(const Positives& positives, std::int64_t rows, const Trials& trials);

// Lists the rows of draws, class after class.
class DrawLister {
 public:
  DrawLister(std::int64_t rows, std::uint64_t seed) : rows_(static_cast<std::uint32_t>(rows)), seed_(seed) {}
  // Writes the rows that the trials of a class draw. positives (count,) ascending, fewer than negatives. Memory
  // O(count), whatever the number of rows.
  void list(const std::uint32_t* positives, std::uint32_t count, std::uint32_t cls, const Trials& trials,
            std::uint32_t* out);

 private:
  std::uint32_t rows_;
  std::uint64_t seed_;
  DrawNumbers draw_numbers_ = draw_numbers_kernel();
  std::vector<std::uint32_t> displaced_;
  std::vector<bool> may_be_positive_;
};

// Writes the rows that trials draw from all classes, each at its `draw_offsets`.
void draw_rows(const Positives& positives, std::int64_t rows, const Trials& trials, std::uint64_t seed,
               const std::vector<std::int64_t>& offset, std::uint32_t* out, const Runner& runner);

struct DrawPlan {
  std::vector<std::int64_t> slot_offset;  // (C + 1): draws of class c in (trial, draw) order
  std::vector<std::int64_t> item_offset;  // (items + 1) into draws
  LargeArray<Draw> draws;                 // by item, ascending by slot in each
  LargeArray<std::uint32_t> reached;      // by slot: thresholds that the drawn score reaches

  static constexpr std::int64_t kBytesPerDraw = sizeof(Draw) + sizeof(std::uint32_t);
};

DrawPlan plan_draws(const Positives& positives, const Matrix& scores, const std::vector<Tile>& tiles, int trials,
                    std::uint64_t seed, const Runner& runner);

}  // namespace vltr::cpu
