// Ties of one class: how far the order of its tied rows could move its AP.
//
// A threshold with tp[k] - tp[k-1] positives and tied[k] negatives has one precision in AP. A library that sorts rows
// has one precision for each of these positives, which depends on the order of the tied rows:
//
//   lowest AP    all tied negatives before the positives:  the i-th has precision h / (h + fp[k]), h = tp[k-1] + i
//   highest AP   all tied negatives after the positives:   the i-th has precision h / (h + fp[k] - tied[k])
//
// In    tp, fp, tied (K,) int64   as in ap_core.hpp
// Out   TieInterval, which holds the AP of every order and the AP of the rank table; NaN without positives
// Cost  O(1) for each threshold, and for each of up to kLongestRun positives at a threshold
// Bits  one fixed summation order, + - * / only: equal on host and device
// Test  csrc/tests/test_core.cpp, tests/eval/test_rank_table.py (every order; exact fractions)
#pragma once

#include "core/ap_core.hpp"

namespace vltr {

// The sum over the positives of a threshold adds one term for each up to this number. For more there is a closed form:
// coarse scores have millions of positives at a threshold, and the rounding errors of as many terms would add up.
constexpr std::int64_t kLongestRun = 1024;

// ln((start + count) / start), count <= start * 2^60. With z = count / (2 start + count) it is 2 atanh(z), by the
// series of atanh for small z; larger ratios are first divided by two.
VLTR_HD double logarithm_of_ratio(double start, double count) {
  constexpr double kLn2 = 0.69314718055994530942;
  double halvings = 0.0;
  double end = start + count;
  for (; end > 1.5 * start; end *= 0.5) halvings += 1.0;
  const double ratio = (halvings == 0.0 ? count : end - start) / (end + start);
  const double square = ratio * ratio;  // at most 0.04: the first omitted term is below 2^-57 of the first term
  double series = 0.0;
  for (int odd = 23; odd > 0; odd -= 2) series = series * square + 1.0 / odd;
  return 2.0 * ratio * series + halvings * kLn2;
}

// 1 / (start + 1) + 1 / (start + 2) + ... + 1 / (start + count), by the asymptotic series of the digamma function at
// half-integers (NIST DLMF 5.11.2 and its duplication), whose first omitted term is below 2^-60. start >= 1024.
VLTR_HD double sum_of_inverses(double start, double count) {
  const double first = start + 0.5;
  const double last = first + count;
  const double a = 1.0 / (first * first);
  const double b = 1.0 / (last * last);
  return logarithm_of_ratio(first, count) - ((a - b) / 24.0 - 7.0 / 960.0 * (a * a - b * b));
}

// The sum of h / (h + fp) for h = hits + 1 .. hits + count.
VLTR_HD double sum_of_precisions(std::int64_t hits, std::int64_t count, std::int64_t fp) {
  constexpr std::int64_t kLeastStart = 1024;
  double sum = 0.0;
  for (; count > 0 && hits + fp < kLeastStart; --count) {
    ++hits;
    sum += static_cast<double>(hits) / static_cast<double>(hits + fp);
  }
  const double rest = static_cast<double>(count);
  return sum + (rest - static_cast<double>(fp) * sum_of_inverses(static_cast<double>(hits + fp), rest));
}

struct TieInterval {
  double lower;
  double upper;
};

// ap: the AP of this class.
VLTR_HD TieInterval tie_interval(const std::int64_t* tp, const std::int64_t* fp, const std::int64_t* tied,
                                 std::int64_t count, double ap) {
  const std::int64_t positives = count == 0 ? 0 : tp[count - 1];
  if (positives == 0) return {undefined(), undefined()};
  // Sums of what the order adds to the precision of each tied positive.
  double lower = 0.0;
  double upper = 0.0;
  std::int64_t previous = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    const std::int64_t hits = previous;
    const std::int64_t run = tp[k] - hits;
    previous = tp[k];
    if (run <= 0 || (run == 1 && tied[k] == 0)) continue;  // these rows have one order
    const double together = static_cast<double>(tp[k]) / static_cast<double>(tp[k] + fp[k]);
    const std::int64_t above = fp[k] - tied[k];
    if (run > kLongestRun) {
      const double same = static_cast<double>(run) * together;
      lower += sum_of_precisions(hits, run, fp[k]) - same;
      upper += sum_of_precisions(hits, run, above) - same;
      continue;
    }
    for (std::int64_t h = hits + 1; h <= tp[k]; ++h) {
      const double hit = static_cast<double>(h);
      lower += hit / static_cast<double>(h + fp[k]) - together;
      upper += hit / static_cast<double>(h + above) - together;
    }
  }
  const double lowest = ap + lower / static_cast<double>(positives);
  const double highest = ap + upper / static_cast<double>(positives);
  const double top = highest > ap ? highest : ap;
  return {lowest < ap ? lowest : ap, top < 1.0 ? top : 1.0};
}

// Positives whose score is also a negative's.
VLTR_HD std::int64_t tied_positives(const std::int64_t* tp, const std::int64_t* tied, std::int64_t count) {
  std::int64_t sum = 0;
  std::int64_t previous = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    sum += tied[k] > 0 ? tp[k] - previous : 0;
    previous = tp[k];
  }
  return sum;
}

}  // namespace vltr
