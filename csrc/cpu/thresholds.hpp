// The thresholds of every class: the distinct scores of its positives, ascending, with their search trees.
#pragma once

#include <memory>

#include "core/rank_table.hpp"
#include "core/tree_core.hpp"
#include "cpu/positives.hpp"

namespace vltr::cpu {

// Trees start on a cache line, so that a node of 16 floats is one line.
template <class Lane>
class AlignedLanes {
 public:
  void resize(std::int64_t count) {
    storage_.reset(new Lane[static_cast<std::size_t>(count) + 64 / sizeof(Lane)]);  // not initialised
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
  Offsets offset;                   // (C + 1) into keys
  Array<Lane> keys;                 // ascending and distinct in each class
  Array<std::int64_t> tree_offset;  // (C) into tree
  AlignedLanes<Lane> tree;
  Array<Lane> lowest;  // (C, padded to a multiple of 16) first key, or unreachable

  std::int64_t classes() const { return tree_offset.count(); }
  std::int64_t count(std::int64_t c) const { return offset.length(c); }
  void build_trees();
};

// The scores of the positives, in the order of positives.rows; minus zero becomes zero. If one is NaN, throws BadValue
// with the first NaN of the whole matrix.
template <class Lane>
Array<Lane> positive_scores(const Matrix& scores, const Positives& positives, const Runner& runner);

// Sorts the scores of each class ascending.
template <class Lane>
void sort_within_classes(const Positives& positives, Array<Lane>& scores, const Runner& runner);

template <class Lane>
Thresholds<Lane> thresholds_of(const Positives& positives, const Array<Lane>& sorted_scores);

// The thresholds of some classes of a table; the other classes have none.
template <class Lane>
Thresholds<Lane> thresholds_of(const RankTable& table, const Array<std::int64_t>& classes);

}  // namespace vltr::cpu
