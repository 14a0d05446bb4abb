#include "cpu/class_path.hpp"

#include <cstdlib>
#include <string>

namespace vltr::cpu {
namespace {

// True if a class has so many positives that sorting it is faster than searching for each of its scores.
bool is_dense(std::int64_t positives, std::int64_t rows) {
  return positives > std::max<std::int64_t>(256, std::min<std::int64_t>(rows / 8, 12288));
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
  ClassPaths paths;
  for (std::int64_t c = 0; c < positives.classes(); ++c) {
    const std::int64_t count = positives.offset.length(c);
    const bool sorted = forced.empty() ? is_dense(count, rows) : forced == "sort" && count > 0;
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
