#include "cpu/box_order.hpp"

#include <algorithm>
#include <vector>

namespace vltr::cpu {
namespace {

constexpr std::int64_t kRowsPerItem = 4096;
constexpr double kNanosecondsPerRow = 200.0;

class ByContent {
 public:
  explicit ByContent(const BoxTable& boxes) : boxes_(boxes) {}
  bool operator()(std::int64_t a, std::int64_t b) const {
    if (boxes_.cls[a] != boxes_.cls[b]) return boxes_.cls[a] < boxes_.cls[b];
    for (std::int64_t corner = 0; corner < 4; ++corner) {
      const double x = boxes_.corners[4 * a + corner], y = boxes_.corners[4 * b + corner];
      if (x != y) return x < y;
    }
    if (boxes_.score[a] != boxes_.score[b]) return boxes_.score[a] < boxes_.score[b];
    return a < b;
  }

 private:
  const BoxTable& boxes_;
};

}  // namespace

std::int64_t order_boxes(const BoxTable& boxes, Span<const std::int64_t> rows, Span<const std::int64_t> offset,
                         std::int64_t limit, std::int64_t* kept, const Runner& runner) {
  const std::int64_t groups = offset.size() - 1;
  std::vector<std::int64_t> first_group{0}, first_kept{0};
  std::int64_t total = 0, in_item = 0;
  for (std::int64_t group = 0; group < groups; ++group) {
    const std::int64_t size = offset[group + 1] - offset[group];
    total += limit == 0 ? size : std::min(size, limit);
    in_item += size;
    if (in_item >= kRowsPerItem || group + 1 == groups) {
      first_group.push_back(group + 1);
      first_kept.push_back(total);
      in_item = 0;
    }
  }
  const ByContent before(boxes);
  const auto better = [&](std::int64_t a, std::int64_t b) {
    if (boxes.score[a] != boxes.score[b]) return boxes.score[a] > boxes.score[b];
    return before(a, b);
  };
  const std::int64_t items = static_cast<std::int64_t>(first_group.size()) - 1;
  runner.for_cost(kNanosecondsPerRow * static_cast<double>(rows.size())).run(items, [&](std::int64_t item, int) {
    std::vector<std::int64_t> own;
    std::int64_t* to = kept + first_kept[static_cast<std::size_t>(item)];
    const std::int64_t last = first_group[static_cast<std::size_t>(item) + 1];
    for (std::int64_t group = first_group[static_cast<std::size_t>(item)]; group < last; ++group) {
      own.assign(rows.data() + offset[group], rows.data() + offset[group + 1]);
      if (limit != 0 && static_cast<std::int64_t>(own.size()) > limit) {
        std::nth_element(own.begin(), own.begin() + limit, own.end(), better);
        own.resize(static_cast<std::size_t>(limit));
      }
      std::sort(own.begin(), own.end(), before);
      to = std::copy(own.begin(), own.end(), to);
    }
  });
  return total;
}

}  // namespace vltr::cpu
