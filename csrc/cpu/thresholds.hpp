// The thresholds of every class: the distinct scores of its positives, ascending, with their search trees.
#pragma once

#include <memory>

#include "core/tree_core.hpp"
#include "cpu/positives.hpp"

namespace vltr::cpu {

// Trees start on a cache line, so that a node of 16 floats is one line.
template <class Lane>
class AlignedLanes {
 public:
  void resize(std::int64_t count) {
    storage_ = std::make_unique<Lane[]>(static_cast<std::size_t>(count) + 64 / sizeof(Lane));
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.get());
    data_ = reinterpret_cast<Lane*>((address + 63) / 64 * 64);
  }
  Lane* data() { return data_; }
  const Lane* data() const { return data_; }

 private:
  std::unique_ptr<Lane[]> storage_;
  Lane* data_ = nullptr;
};

template <class Lane>
struct Thresholds {
  std::vector<std::int64_t> offset;       // (C + 1) into keys
  std::vector<Lane> keys;                 // ascending and distinct in each class
  std::vector<std::int64_t> tree_offset;  // (C) into tree
  AlignedLanes<Lane> tree;
  std::vector<Lane> lowest;  // (C, padded to a multiple of 16) first key, or unreachable

  std::int64_t classes() const { return static_cast<std::int64_t>(tree_offset.size()); }
  std::int64_t count(std::int64_t c) const {
    return offset[static_cast<std::size_t>(c) + 1] - offset[static_cast<std::size_t>(c)];
  }
  void build_trees();
};

// Scores of the positives, in the order of positives.rows, minus zero made zero. Throws BadValue at a NaN; the place is
// that of the first NaN of the whole matrix.
template <class Lane>
std::vector<Lane> positive_scores(const Matrix& scores, const Positives& positives, const Runner& runner);

// Sorts each class's scores ascending.
template <class Lane>
void sort_within_classes(const Positives& positives, std::vector<Lane>& scores, const Runner& runner);

template <class Lane>
Thresholds<Lane> thresholds_of(const Positives& positives, const std::vector<Lane>& sorted_scores);

}  // namespace vltr::cpu
