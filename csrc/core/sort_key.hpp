// The key of a lane: an unsigned integer that is the smaller, the higher the score. Equal scores have equal keys.
//
// In    a lane that is no NaN; minus zero has the key of zero
// Out   float -> uint32, double and int64 -> uint64; lane_of_key is the way back
// Test  csrc/tests/test_core.cpp
#pragma once

#include "core/element.hpp"

namespace vltr {

template <class Lane>
using SortKey = std::conditional_t<sizeof(Lane) == 4, std::uint32_t, std::uint64_t>;

// A float without its sign bit rises with its value, so a positive float is inverted. Integers are inverted altogether:
// as keys they have their top bit flipped, because they are signed.
template <class Lane>
VLTR_HD SortKey<Lane> sort_key(Lane lane) {
  using Key = SortKey<Lane>;
  constexpr Key kTop = Key{1} << (8 * sizeof(Key) - 1);
  if constexpr (std::is_integral_v<Lane>) {
    return static_cast<Key>(lane) ^ (kTop - 1);
  } else {
    const Key bits = bit_cast<Key>(lane + Lane{0});  // -0 + 0 is +0
    return bits ^ ((bits & kTop) == 0 ? kTop - 1 : Key{0});
  }
}

template <class Lane>
VLTR_HD Lane lane_of_key(SortKey<Lane> key) {
  using Key = SortKey<Lane>;
  constexpr Key kTop = Key{1} << (8 * sizeof(Key) - 1);
  if constexpr (std::is_integral_v<Lane>) {
    return static_cast<Lane>(key ^ (kTop - 1));
  } else {
    return bit_cast<Lane>(key ^ ((key & kTop) == 0 ? kTop - 1 : Key{0}));
  }
}

}  // namespace vltr
