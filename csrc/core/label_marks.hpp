// The values of dense labels and masks that have another meaning than negative and positive.
#pragma once

#include "core/element.hpp"

namespace vltr {

// Sets of values.
constexpr unsigned kMinusOneMark = 1;
constexpr unsigned kZeroMark = 2;
constexpr unsigned kNaNMark = 4;
constexpr unsigned kAllMarks = 7;

// The set of this value alone; empty for all other values.
template <class T>
VLTR_HD unsigned mark_of(T element) {
  const auto lane = to_lane(element);
  if (lane == lane_of<T>(0)) return kZeroMark;
  if (lane != lane) return kNaNMark;
  if constexpr (!std::is_unsigned_v<T>) {  // bool is unsigned
    if (lane == lane_of<T>(-1)) return kMinusOneMark;
  }
  return 0;
}

}  // namespace vltr
