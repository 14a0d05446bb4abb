// The sum of doubles, rounded once: the same bits in any order, and those of Python's math.fsum.
//
// The sum is kept as partial sums whose bits do not overlap (Shewchuk, "Adaptive Precision Floating-Point Arithmetic",
// 1997). Each addition is split into its rounded sum and its rounding error, which is exact.
//
// In    doubles
// Out   the double that is nearest to their sum, ties to even; infinity or NaN if a value or a partial sum is
// Test  csrc/tests/test_core.cpp, tests/eval/test_rank_table.py (math.fsum)
#pragma once

#include "core/platform.hpp"

namespace vltr {

class ExactSum {
 public:
  VLTR_HD void add(double value) {
    int kept = 0;
    for (int i = 0; i < count_; ++i) {
      const double sum = value + partial_[i];
      const double added = sum - value;
      const double error = (value - (sum - added)) + (partial_[i] - added);  // Knuth's two-sum, of any two numbers
      value = sum;
      if (error != 0.0) partial_[kept++] = error;
    }
    partial_[kept] = value;
    count_ = kept + 1;
    if (value - value != 0.0) {  // its rounding error would be NaN
      overflow_ = value;
      count_ = 0;
    }
  }

  VLTR_HD double rounded() const {
    if (overflow_ != 0.0) return overflow_;
    if (count_ == 0) return 0.0;
    int i = count_ - 1;
    double sum = partial_[i];
    double error = 0.0;
    while (i > 0 && error == 0.0) {
      const double larger = sum;
      const double smaller = partial_[--i];
      sum = larger + smaller;
      error = smaller - (sum - larger);
    }
    // Half of a last digit was rounded to even, and a smaller partial sum of the same sign decides otherwise.
    if (i > 0 && ((error < 0.0 && partial_[i - 1] < 0.0) || (error > 0.0 && partial_[i - 1] > 0.0))) {
      const double twice = error * 2.0;
      const double moved = sum + twice;
      if (moved - sum == twice) sum = moved;
    }
    return sum;
  }

 private:
  // Ascending. Their bits do not overlap, so there is at most one for each of the 2098 binary places of doubles.
  double partial_[2100];
  int count_ = 0;
  double overflow_ = 0.0;  // infinity or NaN, once a sum is
};

}  // namespace vltr
