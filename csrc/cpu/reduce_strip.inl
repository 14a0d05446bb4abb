// The kernels of reduce_strip.hpp for one instruction set. Each reduce_strip_*.cpp includes it.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/exact_sum_core.hpp"
#include "core/exp_core.hpp"
#include "cpu/reduce_strip.hpp"

#if !defined(VLTR_ISA)
#include "cpu/pack_generic.inl"
#endif

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

template <class T>
inline double to_number(T element) {
  if constexpr (std::is_same_v<T, Float16>) {
    // As to_lane(), without its branch, so that compilers vectorize a loop of it.
    const std::uint32_t magnitude = element.bits & 0x7FFFu;
    const std::uint32_t is_small = std::uint32_t{0} - static_cast<std::uint32_t>(magnitude < 0x400u);
    const std::uint32_t is_odd = std::uint32_t{0} - static_cast<std::uint32_t>(magnitude >= 0x7C00u);  // infinity, NaN
    const std::uint32_t normal = ((magnitude << 13) + 0x38000000u) | (is_odd & 0x7F800000u);
    const auto small = bit_cast<std::uint32_t>(static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f);
    const std::uint32_t sign = static_cast<std::uint32_t>(element.bits & 0x8000u) << 16;
    return static_cast<double>(bit_cast<float>(sign | (small & is_small) | (normal & ~is_small)));
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<double>(element);
  } else {
    return static_cast<double>(to_lane(element));
  }
}

template <class T>
inline T element_at(const std::byte* row, std::int64_t j) {
  return load_element<T>(row + j * static_cast<std::int64_t>(sizeof(T)));
}

template <class T>
inline double number_at(const std::byte* row, std::int64_t j) {
  return to_number(element_at<T>(row, j));
}

template <class T>
inline std::uint32_t bits_of_magnitude(const std::byte* row, std::int64_t j) {
  return bit_cast<std::uint32_t>(static_cast<float>(to_lane(element_at<T>(row, j)))) & 0x7FFFFFFFu;
}

inline bool is_finite(double value) { return value - value == 0.0; }

constexpr int kTogether = 4;  // views that a loop over classes reads together, so that it stores its sums less often

// The classes of a strip of one view next to each other, as another type or as their own.
template <class T, class To>
inline void copy_strip(const std::byte* from, std::int64_t stride, std::int64_t cols, To* __restrict to) {
  if constexpr (std::is_same_v<T, To>) {
    for (std::int64_t j = 0; j < cols; ++j) to[j] = load_element<T>(from + j * stride);
  } else if (stride == static_cast<std::int64_t>(sizeof(T))) {  // in a loop of its own, which compilers vectorize
    for (std::int64_t j = 0; j < cols; ++j) to[j] = static_cast<To>(number_at<T>(from, j));
  } else {
    for (std::int64_t j = 0; j < cols; ++j) to[j] = static_cast<To>(number_at<T>(from + j * stride, 0));
  }
}

// Calls step(rows, number) for groups of views: `number` is a constant, kTogether or 1, and rows[k] has the classes of
// the strip next to each other, as elements of type To.
template <class T, class To, class Step>
inline void for_views(const ReduceStrip& strip, const Step& step) {
  alignas(64) To copy[kTogether][kReduceStrip];
  const std::byte* rows[kTogether];
  const auto take = [&](std::int64_t view, int k) {
    const View& row = strip.views[view];
    rows[k] = row.data + strip.first_col * row.col_stride;
    if (std::is_same_v<T, To> && row.col_stride == static_cast<std::int64_t>(sizeof(T))) return;
    copy_strip<T, To>(rows[k], row.col_stride, strip.cols, copy[k]);
    rows[k] = reinterpret_cast<const std::byte*>(copy[k]);
  };
  std::int64_t i = 0;
  for (; i + kTogether <= strip.count; i += kTogether) {
    for (int k = 0; k < kTogether; ++k) take(i + k, k);
    step(rows, std::integral_constant<int, kTogether>{});
  }
  for (; i < strip.count; ++i) {
    take(i, 0);
    step(rows, std::integral_constant<int, 1>{});
  }
}

// The type in which the views of a type are added: a half costs as much to convert as to add.
template <class T>
using AddedAs = std::conditional_t<std::is_same_v<T, Float16>, float, T>;

// Adds views to plain sums of doubles.
template <class T, int kNumber>
inline void add_plain(const std::byte* const* rows, std::int64_t cols, double* __restrict sum) {
  for (std::int64_t j = 0; j < cols; ++j) {
    double part = number_at<T>(rows[0], j);
    for (int k = 1; k < kNumber; ++k) part += number_at<T>(rows[k], j);
    sum[j] += part;
  }
}

// Adds views to sums of several doubles each: level[i] takes the rounding errors of level[i - 1], which Knuth's two-sum
// finds, and lost[j] is 0 while the last level has none.
template <class T, int kLevels, int kNumber>
inline void add_exactly(const std::byte* const* rows, std::int64_t cols, double (*__restrict level)[kReduceStrip],
                        std::uint64_t* __restrict lost) {
  for (std::int64_t j = 0; j < cols; ++j) {
    std::uint64_t rests = 0;
    double total[kLevels];
    for (int i = 0; i < kLevels; ++i) total[i] = level[i][j];
    for (int k = 0; k < kNumber; ++k) {
      double value = number_at<T>(rows[k], j);
      for (int i = 0; i < kLevels; ++i) {
        const double next = total[i] + value;
        const double added = next - total[i];
        value = (total[i] - (next - added)) + (value - added);
        total[i] = next;
      }
      rests |= bit_cast<std::uint64_t>(value) << 1;  // all but the sign; NaN has bits as well
    }
    for (int i = 0; i < kLevels; ++i) level[i][j] = total[i];
    lost[j] |= rests;
  }
}

// Sums the classes that are not exact yet.
template <class T, int kLevels>
inline bool sum_in_levels(const ReduceStrip& strip, double* sum, unsigned char* exact) {
  double level[kLevels][kReduceStrip] = {};
  std::uint64_t lost[kReduceStrip] = {};
  for_views<T, AddedAs<T>>(strip, [&](const std::byte* const* rows, auto number) {
    add_exactly<AddedAs<T>, kLevels, number>(rows, strip.cols, level, lost);
  });
  bool all = true;
  for (std::int64_t j = 0; j < strip.cols; ++j) {
    if (exact[j] != 0) continue;
    if constexpr (kLevels == 2) {
      sum[j] = level[0][j] + level[1][j];  // the one rounding
    } else if (lost[j] == 0) {
      ExactSum total;
      for (int i = 0; i < kLevels; ++i) total.add(level[i][j]);
      sum[j] = total.rounded();
    }
    exact[j] = lost[j] == 0 && is_finite(sum[j]) ? 1 : 0;
    all &= exact[j] != 0;
  }
  return all;
}

// The sums of two doubles hold most scores, those of four all that are below 2^50 and above 2^-100.
template <class T>
inline void sum_exactly(const ReduceStrip& strip, double* sum, unsigned char* exact) {
  if (!sum_in_levels<T, 2>(strip, sum, exact)) sum_in_levels<T, 4>(strip, sum, exact);
}

inline int bits_of_count(std::int64_t count) {
  int bits = 0;
  while ((std::int64_t{1} << bits) < count) ++bits;
  return bits;
}

// The smallest magnitude of a class but 0, less 1, and the largest.
template <class T, int kNumber>
inline void find_magnitudes(const std::byte* const* rows, std::int64_t cols, std::uint32_t* __restrict least,
                            std::uint32_t* __restrict most) {
  for (std::int64_t j = 0; j < cols; ++j) {
    std::uint32_t low = least[j];
    std::uint32_t high = most[j];
    for (int k = 0; k < kNumber; ++k) {
      const std::uint32_t bits = bits_of_magnitude<T>(rows[k], j);
      low = bits - 1 < low ? bits - 1 : low;
      high = bits > high ? bits : high;
    }
    least[j] = low;
    most[j] = high;
  }
}

// Floats of 8 exponent bits. All scores of a class are whole multiples of the last place of the smallest. If their sum
// is below 2^53 of these, plain doubles hold every partial sum.
template <class T>
inline void sum_floats(const ReduceStrip& strip, double* sum, unsigned char* exact) {
  constexpr int kMantissa = std::is_same_v<T, float> ? 23 : 7;
  std::uint32_t least[kReduceStrip];
  std::uint32_t most[kReduceStrip];
  double total[kReduceStrip];
  for (std::int64_t j = 0; j < strip.cols; ++j) {
    total[j] = 0.0;
    least[j] = 0xFFFFFFFFu;
    most[j] = 0;
  }
  for_views<T, T>(strip, [&](const std::byte* const* rows, auto number) {
    find_magnitudes<T, number>(rows, strip.cols, least, most);
    add_plain<T, number>(rows, strip.cols, total);
  });
  const int span = 52 - kMantissa - bits_of_count(strip.count);
  bool all = true;
  for (std::int64_t j = 0; j < strip.cols; ++j) {
    const int low = std::max(static_cast<int>((least[j] + 1) >> 23), 1);  // subnormals have the exponent of 1
    const int high = std::max(static_cast<int>(most[j] >> 23), 1);
    const bool fits = most[j] == 0 || (is_finite(total[j]) && high - low <= span);
    sum[j] = total[j];
    exact[j] = fits ? 1 : 0;
    all &= fits;
  }
  if (!all) sum_exactly<T>(strip, sum, exact);
}

// 64-bit integers, in two halves.
template <class T>
inline void sum_halves(const ReduceStrip& strip, double* sum, unsigned char* exact) {
  double high[kReduceStrip] = {};
  double low[kReduceStrip] = {};
  for_views<T, T>(strip, [&](const std::byte* const* rows, auto number) {
    for (std::int64_t j = 0; j < strip.cols; ++j) {
      for (int k = 0; k < number; ++k) {
        const T element = element_at<T>(rows[k], j);
        const auto half = static_cast<std::uint32_t>(static_cast<std::uint64_t>(element));
        high[j] += static_cast<double>(static_cast<T>(element - static_cast<T>(half)));  // a multiple of 2^32
        low[j] += static_cast<double>(half);
      }
    }
  });
  // The high halves are whole numbers of 2^32, at most 2^31 of them each.
  const bool fits = strip.count <= (std::int64_t{1} << 20);
  for (std::int64_t j = 0; j < strip.cols; ++j) {
    sum[j] = high[j] + low[j];
    exact[j] = fits ? 1 : 0;
  }
}

template <class T>
void sum_strip(const ReduceStrip& strip, double* sum, unsigned char* exact) {
  constexpr bool kIsWide = std::is_integral_v<T> && sizeof(T) == 8;
  constexpr bool kIsFloat = std::is_same_v<T, float> || std::is_same_v<T, BFloat16>;
  if constexpr (kIsWide) {
    sum_halves<T>(strip, sum, exact);
  } else if constexpr (kIsFloat) {
    sum_floats<T>(strip, sum, exact);
  } else {
    std::memset(exact, 0, static_cast<std::size_t>(strip.cols));
    // A half is a multiple of 2^-24 below 2^16, an integer one of 1 below 2^32.
    if (!std::is_same_v<T, double> && strip.count <= 4096) {
      double total[kReduceStrip] = {};
      for_views<T, AddedAs<T>>(strip, [&](const std::byte* const* rows, auto number) {
        add_plain<AddedAs<T>, number>(rows, strip.cols, total);
      });
      bool all = true;
      for (std::int64_t j = 0; j < strip.cols; ++j) {
        sum[j] = total[j];
        exact[j] = is_finite(sum[j]) ? 1 : 0;
        all &= exact[j] != 0;
      }
      if (all) return;
    }
    sum_exactly<T>(strip, sum, exact);
  }
}

// Integers in the order of the elements: those of a float's bits, with the magnitude of negative ones turned.
template <class T>
struct OrderOf {
  using Key = T;
};
template <>
struct OrderOf<Float16> {
  using Key = std::int16_t;
  static constexpr std::int16_t kInfinity = 0x7C00;
};
template <>
struct OrderOf<BFloat16> {
  using Key = std::int16_t;
  static constexpr std::int16_t kInfinity = 0x7F80;
};
template <>
struct OrderOf<float> {
  using Key = std::int32_t;
  static constexpr std::int32_t kInfinity = 0x7F800000;
};
template <>
struct OrderOf<double> {
  using Key = std::int64_t;
  static constexpr std::int64_t kInfinity = 0x7FF0000000000000;
};

template <class Key>
inline Key turned(Key bits) {
  constexpr int kSign = 8 * static_cast<int>(sizeof(Key)) - 1;
  return static_cast<Key>(bits ^ ((bits >> kSign) & std::numeric_limits<Key>::max()));
}

// Raises the largest elements to those of more views.
template <class T, int kNumber>
inline void raise_to(const std::byte* const* rows, std::int64_t cols, T* __restrict most) {
  for (std::int64_t j = 0; j < cols; ++j) {
    T high = most[j];
    for (int k = 0; k < kNumber; ++k) {
      const T element = element_at<T>(rows[k], j);
      high = element > high ? element : high;
    }
    most[j] = high;
  }
}

// The same of the keys of floats, and of the smallest ones.
template <class Key, int kNumber>
inline void widen(const std::byte* const* rows, std::int64_t cols, Key* __restrict least, Key* __restrict most) {
  for (std::int64_t j = 0; j < cols; ++j) {
    Key low = least[j];
    Key high = most[j];
    for (int k = 0; k < kNumber; ++k) {
      const Key key = turned(element_at<Key>(rows[k], j));
      high = key > high ? key : high;
      low = key < low ? key : low;
    }
    least[j] = low;
    most[j] = high;
  }
}

template <class T>
bool max_strip(const ReduceStrip& strip, std::byte* out) {
  using Key = typename OrderOf<T>::Key;
  const auto num_bytes = static_cast<std::size_t>(strip.cols) * sizeof(T);
  Key most[kReduceStrip];
  for (std::int64_t j = 0; j < strip.cols; ++j) most[j] = std::numeric_limits<Key>::lowest();
  if constexpr (std::is_integral_v<T>) {
    for_views<T, T>(strip,
                    [&](const std::byte* const* rows, auto number) { raise_to<T, number>(rows, strip.cols, most); });
    std::memcpy(out, most, num_bytes);
    return true;
  } else {
    constexpr Key kInfinity = OrderOf<T>::kInfinity;
    constexpr auto kMinusInfinity =
        static_cast<Key>(std::numeric_limits<Key>::lowest() + (std::numeric_limits<Key>::max() - kInfinity));
    Key least[kReduceStrip];  // the NaN of either sign are beyond an infinity
    for (std::int64_t j = 0; j < strip.cols; ++j) least[j] = std::numeric_limits<Key>::max();
    for_views<T, T>(
        strip, [&](const std::byte* const* rows, auto number) { widen<Key, number>(rows, strip.cols, least, most); });
    bool valid = true;
    for (std::int64_t j = 0; j < strip.cols; ++j) {
      valid &= most[j] <= kInfinity && least[j] >= kMinusInfinity;
      most[j] = turned(most[j]);
    }
    std::memcpy(out, most, num_bytes);
    return valid;
  }
}

template <int kNumber>
inline void find_largest(const std::byte* const* rows, std::int64_t cols, double* __restrict most,
                         double* __restrict odd) {
  for (std::int64_t j = 0; j < cols; ++j) {
    double high = most[j];
    double nan = odd[j];
    for (int k = 0; k < kNumber; ++k) {
      const double x = number_at<double>(rows[k], j);
      nan = x == x ? nan : x;
      high = x > high ? x : high;
    }
    most[j] = high;
    odd[j] = nan;
  }
}

// An exponential is split into two whole multiples of powers of two, whose sums doubles hold: the first of 2^(L - 52)
// for 2^L views, the second of 2^(2L - 104). The rest, below 2^(2L - 105), is rounded to the nearest before the sum.
inline void add_exponentials(const std::byte* row, std::int64_t cols, const double* __restrict most, double lowest,
                             double unit, double* __restrict high, double* __restrict low) {
  const double round_high = 1.5 * unit;
  const double round_low = 1.5 * unit * unit * 0x1p-52;
  for (std::int64_t j = 0; j < cols; ++j) {
    const double below = number_at<double>(row, j) - most[j];
    const double value = exp_of_negative(below > lowest ? below : lowest);
    const double first = (value + round_high) - round_high;
    const double second = ((value - first) + round_low) - round_low;
    high[j] += first;
    low[j] += second;
  }
}

template <class T>
bool exp_sum_strip(const ReduceStrip& strip, double* largest, double* sum) {
  double most[kReduceStrip];
  double odd[kReduceStrip] = {};  // NaN where a score is
  for (std::int64_t j = 0; j < strip.cols; ++j) most[j] = -std::numeric_limits<double>::infinity();
  for_views<T, double>(
      strip, [&](const std::byte* const* rows, auto number) { find_largest<number>(rows, strip.cols, most, odd); });
  bool valid = true;
  for (std::int64_t j = 0; j < strip.cols; ++j) valid &= odd[j] == odd[j];
  if (!valid) return false;
  const int bits = bits_of_count(strip.count);
  const double unit = bit_cast<double>(static_cast<std::uint64_t>(1023 + bits) << 52);  // 2^L
  const double lowest = -100.0 - bits;                                                  // its exponential rounds to 0
  double high[kReduceStrip] = {};
  double low[kReduceStrip] = {};
  for_views<T, double>(strip, [&](const std::byte* const* rows, auto number) {
    for (int k = 0; k < number; ++k) add_exponentials(rows[k], strip.cols, most, lowest, unit, high, low);
  });
  for (std::int64_t j = 0; j < strip.cols; ++j) {
    largest[j] = most[j];
    sum[j] = high[j] + low[j];
  }
  return true;
}

template <class T>
ReduceKernels<T> reduce_kernels_of() {
  return {&sum_strip<T>, &max_strip<T>, &exp_sum_strip<T>};
}

#define VLTR_KERNEL(T) template ReduceKernels<T> reduce_kernels_of<T>();
VLTR_FOR_EACH_ELEMENT(VLTR_KERNEL)
#undef VLTR_KERNEL

}  // namespace vltr::cpu::VLTR_ISA
#include "cpu/target_end.inl"
