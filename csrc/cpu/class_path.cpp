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

}  // namespace vltr::cpu
