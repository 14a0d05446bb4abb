#include "cpu/class_path.hpp"

#include <cstdlib>
#include <cstring>

namespace vltr::cpu {

bool is_dense(std::int64_t positives, std::int64_t rows) {
  return positives > std::max<std::int64_t>(256, std::min<std::int64_t>(rows / 8, 12288));
}

Array<std::int64_t> dense_classes(const Positives& positives, std::int64_t rows) {
  const char* const forced = std::getenv("VLTR_PATH");
  const bool all = forced != nullptr && std::strcmp(forced, "sort") == 0;
  const bool none = forced != nullptr && std::strcmp(forced, "search") == 0;
  Array<std::int64_t> dense;
  for (std::int64_t c = 0; c < positives.classes() && !none; ++c) {
    const std::int64_t count = positives.offset.length(c);
    if (count > 0 && (all || is_dense(count, rows))) dense.push_back(c);
  }
  return dense;
}

}  // namespace vltr::cpu
