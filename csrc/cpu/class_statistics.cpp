#include "cpu/class_statistics.hpp"

#include <algorithm>
#include <atomic>

#include "core/sap_core.hpp"
#include "core/tie_core.hpp"

namespace vltr::cpu {
namespace {

// One class of a table.
struct ClassColumns {
  const std::int64_t* tp;
  const std::int64_t* fp;
  const std::int64_t* tied;
  std::int64_t count;
  std::int64_t negatives;

  ClassColumns(const TableColumns& table, std::int64_t c) {
    const std::int64_t first = table.offset[c];
    tp = table.tp + first;
    fp = table.fp + first;
    tied = table.tied + first;
    count = table.offset[c + 1] - first;
    negatives = table.rows[c] - positives();
  }
  std::int64_t positives() const { return count == 0 ? 0 : tp[count - 1]; }
};

}  // namespace

ClassStatistics class_statistics(const TableColumns& table, const Runner& runner) {
  const std::int64_t classes = table.offset.size() - 1;
  ClassStatistics out{Array<double>(classes),       Array<double>(classes), Array<double>(classes),
                      Array<std::int64_t>(classes), Array<double>(classes), Array<double>(classes)};
  // Sums of doubles have one order, so a class is one item in each of two runs of items: ties take AP, so they add its
  // sum again, which costs less than to wait for it. The first run has the longer items.
  const std::int64_t step = items_per_step(classes, 8, runner.threads);
  const std::int64_t steps = (classes + step - 1) / step;
  runner.run(2 * steps, [&](std::int64_t item, int) {
    const bool ties = item < steps;
    const std::int64_t first = (ties ? item : item - steps) * step;
    for (std::int64_t c = first; c < std::min(classes, first + step); ++c) {
      const ClassColumns columns(table, c);
      if (ties) {
        const double ap = average_precision(columns.tp, columns.fp, columns.count);
        const TieInterval interval = tie_interval(columns.tp, columns.fp, columns.tied, columns.count, ap);
        out.average_precision[c] = ap;
        out.tie_lower[c] = interval.lower;
        out.tie_upper[c] = interval.upper;
      } else {
        out.roc_auc[c] = roc_auc(columns.tp, columns.fp, columns.tied, columns.count, columns.negatives);
        out.chance[c] = sampled_average_precision_chance(columns.positives(), columns.negatives);
        out.tied_positives[c] = tied_positives(columns.tp, columns.tied, columns.count);
      }
    }
  });
  return out;
}

bool are_counts(Span<const std::int64_t> counts, std::int64_t most, const Runner& runner) {
  constexpr std::int64_t kCountsPerItem = std::int64_t{1} << 16;
  std::atomic<bool> valid{true};
  runner.run((counts.size() + kCountsPerItem - 1) / kCountsPerItem, [&](std::int64_t item, int) {
    const std::int64_t end = std::min(counts.size(), (item + 1) * kCountsPerItem);
    // The sign bit is set if a count is negative or above `most`. There is no branch, so the loop has SIMD.
    std::uint64_t signs = 0;
    for (std::int64_t i = item * kCountsPerItem; i < end; ++i) {
      const auto count = static_cast<std::uint64_t>(counts[i]);
      signs |= count | (static_cast<std::uint64_t>(most) - count);
    }
    if (signs >> 63 != 0) valid = false;
  });
  return valid;
}

}  // namespace vltr::cpu
