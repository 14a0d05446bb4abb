#include "cpu/count_hits.hpp"

#include <algorithm>
#include <atomic>

namespace vltr::cpu {
namespace {

// The ranks below k. A negative rank is above all as an unsigned number.
std::int64_t count_below(const std::int32_t* ranks, std::int64_t count, std::uint32_t k) {
  std::uint32_t below = 0;
  for (std::int64_t i = 0; i < count; ++i) below += static_cast<std::uint32_t>(ranks[i]) < k;
  return below;
}

}  // namespace

HitCounts count_hits(Span<const std::int32_t> ranks, Span<const std::int64_t> offset, const std::uint32_t* rows,
                     Span<const std::int32_t> topk, const Runner& runner) {
  constexpr std::int64_t kPerItem = std::int64_t{1} << 14;
  const std::int64_t num_rows = ranks.size();
  const std::int64_t positives = offset[offset.size() - 1];
  const std::int64_t classes = offset.size() - 1;
  const std::int64_t row_items = (num_rows + kPerItem - 1) / kPerItem;
  const std::int64_t positive_items = (positives + kPerItem - 1) / kPerItem;
  std::atomic<std::int64_t> labelled{0};
  Array<std::atomic<std::int64_t>> of_rows(topk.size());
  Array<std::atomic<std::int64_t>> of_classes(topk.size() * classes);
  Array<Array<std::int32_t>> scratch(std::max(runner.threads, 1));
  runner.run(row_items + positive_items, [&](std::int64_t item, int worker) {
    if (item < row_items) {
      const std::int32_t* const first = ranks.data() + item * kPerItem;
      const std::int64_t count = std::min(kPerItem, num_rows - item * kPerItem);
      labelled += count_below(first, count, std::uint32_t{1} << 31);
      for (std::int64_t i = 0; i < topk.size(); ++i) {
        of_rows[i] += count_below(first, count, static_cast<std::uint32_t>(topk[i]));
      }
      return;
    }
    // The ranks of these positives, then the part of each class.
    Array<std::int32_t>& gathered = scratch[worker];
    gathered.resize(kPerItem);
    const std::int64_t first = (item - row_items) * kPerItem;
    const std::int64_t end = std::min(positives, first + kPerItem);
    for (std::int64_t i = first; i < end; ++i) gathered[i - first] = ranks[rows[i]];
    std::int64_t c = std::upper_bound(offset.begin(), offset.end(), first) - offset.begin() - 1;
    for (std::int64_t start = first; start < end; ++c) {
      const std::int64_t stop = std::min(end, offset[c + 1]);
      for (std::int64_t i = 0; stop > start && i < topk.size(); ++i) {
        of_classes[i * classes + c] +=
            count_below(gathered.data() + (start - first), stop - start, static_cast<std::uint32_t>(topk[i]));
      }
      start = stop;
    }
  });
  return {labelled, Array<std::int64_t>(of_rows.begin(), of_rows.end()),
          Array<std::int64_t>(of_classes.begin(), of_classes.end())};
}

}  // namespace vltr::cpu
