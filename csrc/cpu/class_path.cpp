#include "cpu/class_path.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "cpu/rank_scan_tile.hpp"

namespace vltr::cpu {
namespace {

// True if a class has so many positives that sorting it is faster than searching for each of its scores.
//
// Nanoseconds a row, search / sort, one thread of an AMD EPYC with AVX-512, float32, normal scores with lift 1.5:
//
//   positives        128         256        1,000       2,000       4,000      16,000      64,000
//   1,000 rows    6.4 / 12    22 / 12
//   10,000 rows   2.1 / 13    4.3 / 13    10.4 / 15    23 / 15     38 / 16
//   50,000 rows   1.9 / 12    3.4 / 12     5.9 / 13   7.5 / 14   10.6 / 14    35 / 16
//   200,000 rows  1.9 / 9     3.1 / 9      5.1 / 10   5.5 / 11    6.6 / 11    15 / 11    40 / 13
//   1,000,000     1.9 / 7     3.2 / 7      4.9 / 8    5.2 / 9     5.5 / 9     10 / 10    24 / 10
//
// A model whose negatives score lower gains more from the search, which drops them at sight: 1.1 at 128 positives and
// 9.0 at 16,000 of 1,000,000 rows with lift 3, where the sort takes 6 and 8.
//
// With 16 classes, as above. If a strip of 128 classes has so many thresholds that their trees leave the L2 cache, a
// search takes longer: 200,000 x 500 with 6,000 positives each take 24 / 13, with 2,000 each 10 / 13, and
// 1,000,000 x 100 with 10,000 each 13 / 12.
bool is_dense(std::int64_t positives, std::int64_t rows, bool leaves_cache) {
  const std::int64_t many = leaves_cache ? 4096 : 12288;
  return positives > std::max<std::int64_t>(256, std::min(rows / 8, many));
}

}  // namespace

ClassPaths search_all(std::int64_t classes) {
  ClassPaths paths;
  for (std::int64_t c = 0; c < classes; ++c) paths.searched.push_back(c);
  return paths;
}

ClassPaths class_paths(const Positives& positives, std::int64_t rows) {
  const char* const variable = std::getenv("VLTR_PATH");
  const std::string forced = variable == nullptr ? "" : variable;
  if (!forced.empty() && forced != "search" && forced != "sort") {
    throw std::invalid_argument("VLTR_PATH: expected search or sort, got " + forced);
  }
  constexpr std::int64_t kCachedThresholds = std::int64_t{1} << 18;  // of a strip: 1 MiB of float lanes
  const std::int64_t classes = std::max<std::int64_t>(positives.classes(), 1);
  const std::int64_t strip = std::min<std::int64_t>(classes, kStripCols);
  const bool leaves_cache = positives.rows.count() / classes * strip > kCachedThresholds;
  ClassPaths paths;
  for (std::int64_t c = 0; c < positives.classes(); ++c) {
    const std::int64_t count = positives.offset.length(c);
    const bool sorted = forced.empty() ? is_dense(count, rows, leaves_cache) : forced == "sort" && count > 0;
    (sorted ? paths.sorted : paths.searched).push_back(c);
  }
  return paths;
}

OwnedPositives only(const Positives& positives, const Array<std::int64_t>& classes) {
  Array<std::uint8_t> kept(positives.classes(), 0);
  for (const std::int64_t c : classes) kept[c] = 1;
  Offsets offset{0};
  for (std::int64_t c = 0; c < positives.classes(); ++c) {
    offset.push_back(offset.back() + (kept[c] != 0 ? positives.offset.length(c) : 0));
  }
  LargeArray<std::uint32_t> rows;
  rows.resize(offset.back());
  for (const std::int64_t c : classes) {
    const auto from = positives.rows_of(c);
    std::copy(from.begin(), from.end(), rows.data() + offset[c]);
  }
  return {std::move(offset), std::move(rows)};
}

}  // namespace vltr::cpu
