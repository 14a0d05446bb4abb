// The drawn negatives of all classes and trials, laid out for one pass over the score matrix.
#pragma once

#include "cpu/large_array.hpp"
#include "cpu/scan_tile.hpp"

namespace vltr::cpu {

// Negatives that each trial of class c draws: as many as it has positives. 0 when it has no more negatives than that:
// every trial then holds all of them, and is the AP of the class itself.
std::int64_t draws_per_trial(const Positives& positives, std::int64_t rows, std::int64_t c);

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
