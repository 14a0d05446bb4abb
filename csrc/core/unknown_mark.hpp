// The elements of dense labels or masks that mark an unknown cell.
#pragma once

#include "core/element.hpp"

namespace vltr {

// kFalse is for masks, in which 1 is a known cell.
enum class UnknownMark : int { kNone, kMinusOne, kNaN, kFalse };

template <class T>
VLTR_HD bool is_marked(T element, UnknownMark mark) {
  const auto lane = to_lane(element);
  switch (mark) {
    case UnknownMark::kMinusOne:
      if constexpr (std::is_unsigned_v<T>) return false;  // bool too
      return lane == lane_of<T>(-1);
    case UnknownMark::kNaN:
      return lane != lane;
    case UnknownMark::kFalse:
      return lane == lane_of<T>(0);
    default:
      return false;
  }
}

}  // namespace vltr
