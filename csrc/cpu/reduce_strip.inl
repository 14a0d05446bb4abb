// The kernels of reduce_strip.hpp for one instruction set. Each reduce_strip_*.cpp includes it.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/exp_core.hpp"
#include "cpu/reduce_strip.hpp"

#if !defined(VLTR_ISA)
#include "cpu/pack_generic.inl"
#endif

#include "cpu/target_begin.inl"
namespace vltr::cpu::VLTR_ISA {

// The classes of the strip of one view, which are copied together if the view has others between them.
template <class T>
inline const std::byte* strip_of(const ReduceStrip& strip, std::int64_t view, std::byte* copy) {
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  const View& row = strip.views[view];
  const std::byte* const from = row.data + strip.first_col * row.col_stride;
  if (row.col_stride == kSize) return from;
  for (std::int64_t j = 0; j < strip.cols; ++j) std::memcpy(copy + j * kSize, from + j * row.col_stride, sizeof(T));
  return copy;
}

template <class T>
inline double number_at(const std::byte* row, std::int64_t j) {
  const T element = load_element<T>(row + j * static_cast<std::int64_t>(sizeof(T)));
  if constexpr (std::is_integral_v<T>) {
    return static_cast<double>(element);
  } else {
    return static_cast<double>(to_lane(element));
  }
}

template <class T>
inline std::uint32_t bits_of_magnitude(const std::byte* row, std::int64_t j) {
  const T element = load_element<T>(row + j * static_cast<std::int64_t>(sizeof(T)));
  return bit_cast<std::uint32_t>(static_cast<float>(to_lane(element))) & 0x7FFFFFFFu;
}

inline bool is_finite(double value) { return value - value == 0.0; }

// Plain sums of doubles.
template <class T>
inline void add_views(const ReduceStrip& strip, double* sum) {
  alignas(64) std::byte copy[kReduceStrip * sizeof(T)];
  for (std::int64_t j = 0; j < strip.cols; ++j) sum[j] = 0.0;
  for (std::int64_t i = 0; i < strip.count; ++i) {
    const std::byte* const row = strip_of<T>(strip, i, copy);
    for (std::int64_t j = 0; j < strip.cols; ++j) sum[j] += number_at<T>(row, j);
  }
}

// Sums of two doubles each: Knuth's two-sum keeps every rounding error of the first, and the second must have none.
template <class T>
inline void add_views_twice(const ReduceStrip& strip, double* sum, unsigned char* exact) {
  alignas(64) std::byte copy[kReduceStrip * sizeof(T)];
  double first[kReduceStrip];
  double second[kReduceStrip];
  double lost[kReduceStrip];
  for (std::int64_t j = 0; j < strip.cols; ++j) first[j] = second[j] = lost[j] = 0.0;
  for (std::int64_t i = 0; i < strip.count; ++i) {
    const std::byte* const row = strip_of<T>(strip, i, copy);
    for (std::int64_t j = 0; j < strip.cols; ++j) {
      const double value = number_at<T>(row, j);
      const double total = first[j] + value;
      const double added = total - first[j];
      const double error = (first[j] - (total - added)) + (value - added);
      const double errors = second[j] + error;
      const double more = errors - second[j];
      const double rest = (second[j] - (errors - more)) + (error - more);
      first[j] = total;
      second[j] = errors;
      lost[j] = rest != 0.0 ? 1.0 : lost[j];  // also where it is NaN
    }
  }
  for (std::int64_t j = 0; j < strip.cols; ++j) {
    if (exact[j] != 0) continue;
    sum[j] = first[j] + second[j];  // the one rounding
    exact[j] = lost[j] == 0.0 && is_finite(sum[j]) ? 1 : 0;
  }
}

inline int bits_of_count(std::int64_t count) {
  int bits = 0;
  while ((std::int64_t{1} << bits) < count) ++bits;
  return bits;
}

// Floats of 8 exponent bits. All scores of a class are whole multiples of the last place of the smallest. If their sum
// is below 2^53 of these, plain doubles hold every partial sum.
template <class T>
inline void sum_floats(const ReduceStrip& strip, double* sum, unsigned char* exact) {
  constexpr int kMantissa = std::is_same_v<T, float> ? 23 : 7;
  alignas(64) std::byte copy[kReduceStrip * sizeof(T)];
  std::uint32_t least[kReduceStrip];  // the smallest magnitude but 0, less 1
  std::uint32_t most[kReduceStrip];
  for (std::int64_t j = 0; j < strip.cols; ++j) {
    sum[j] = 0.0;
    least[j] = 0xFFFFFFFFu;
    most[j] = 0;
  }
  for (std::int64_t i = 0; i < strip.count; ++i) {
    const std::byte* const row = strip_of<T>(strip, i, copy);
    for (std::int64_t j = 0; j < strip.cols; ++j) {
      const std::uint32_t bits = bits_of_magnitude<T>(row, j);
      least[j] = std::min(least[j], bits - 1);
      most[j] = std::max(most[j], bits);
    }
    for (std::int64_t j = 0; j < strip.cols; ++j) sum[j] += number_at<T>(row, j);
  }
  const int span = 52 - kMantissa - bits_of_count(strip.count);
  bool all = true;
  for (std::int64_t j = 0; j < strip.cols; ++j) {
    const int low = std::max(static_cast<int>((least[j] + 1) >> 23), 1);  // subnormals have the exponent of 1
    const int high = std::max(static_cast<int>(most[j] >> 23), 1);
    const bool fits = most[j] == 0 || (is_finite(sum[j]) && high - low <= span);
    exact[j] = fits ? 1 : 0;
    all &= fits;
  }
  if (!all) add_views_twice<T>(strip, sum, exact);
}

// 64-bit integers, in two halves.
template <class T>
inline void sum_halves(const ReduceStrip& strip, double* sum, unsigned char* exact) {
  alignas(64) std::byte copy[kReduceStrip * sizeof(T)];
  double high[kReduceStrip];
  double low[kReduceStrip];
  for (std::int64_t j = 0; j < strip.cols; ++j) high[j] = low[j] = 0.0;
  for (std::int64_t i = 0; i < strip.count; ++i) {
    const std::byte* const row = strip_of<T>(strip, i, copy);
    for (std::int64_t j = 0; j < strip.cols; ++j) {
      const T element = load_element<T>(row + j * std::int64_t{sizeof(T)});
      const auto half = static_cast<std::uint32_t>(static_cast<std::uint64_t>(element));
      const auto rest = static_cast<T>(element - static_cast<T>(half));  // a multiple of 2^32, so it loses no bit
      high[j] += static_cast<double>(rest);
      low[j] += static_cast<double>(half);
    }
  }
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
      add_views<T>(strip, sum);
      bool all = true;
      for (std::int64_t j = 0; j < strip.cols; ++j) {
        exact[j] = is_finite(sum[j]) ? 1 : 0;
        all &= exact[j] != 0;
      }
      if (all) return;
    }
    add_views_twice<T>(strip, sum, exact);
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

template <class T>
bool max_strip(const ReduceStrip& strip, std::byte* out) {
  using Key = typename OrderOf<T>::Key;
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  alignas(64) std::byte copy[kReduceStrip * sizeof(T)];
  Key most[kReduceStrip];
  if constexpr (std::is_integral_v<T>) {
    for (std::int64_t j = 0; j < strip.cols; ++j) most[j] = std::numeric_limits<Key>::lowest();
    for (std::int64_t i = 0; i < strip.count; ++i) {
      const std::byte* const row = strip_of<T>(strip, i, copy);
      for (std::int64_t j = 0; j < strip.cols; ++j) {
        const T element = load_element<T>(row + j * kSize);
        most[j] = element > most[j] ? element : most[j];
      }
    }
    std::memcpy(out, most, static_cast<std::size_t>(strip.cols * kSize));
    return true;
  } else {
    constexpr Key kInfinity = OrderOf<T>::kInfinity;
    Key least[kReduceStrip];  // the NaN of either sign are beyond an infinity
    for (std::int64_t j = 0; j < strip.cols; ++j) {
      most[j] = std::numeric_limits<Key>::lowest();
      least[j] = std::numeric_limits<Key>::max();
    }
    for (std::int64_t i = 0; i < strip.count; ++i) {
      const std::byte* const row = strip_of<T>(strip, i, copy);
      for (std::int64_t j = 0; j < strip.cols; ++j) {
        const Key key = turned(load_element<Key>(row + j * kSize));
        most[j] = key > most[j] ? key : most[j];
        least[j] = key < least[j] ? key : least[j];
      }
    }
    bool valid = true;
    for (std::int64_t j = 0; j < strip.cols; ++j) {
      valid &=
          most[j] <= kInfinity && least[j] >= turned(static_cast<Key>(kInfinity | std::numeric_limits<Key>::lowest()));
      most[j] = turned(most[j]);
    }
    std::memcpy(out, most, static_cast<std::size_t>(strip.cols * kSize));
    return valid;
  }
}

// An exponential is split into two whole multiples of powers of two, whose sums doubles hold: the first of 2^(L - 52)
// for 2^L views, the second of 2^(2L - 104). The rest, below 2^(2L - 105), is rounded to the nearest before the sum.
template <class T>
bool exp_sum_strip(const ReduceStrip& strip, double* largest, double* sum) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  alignas(64) std::byte copy[kReduceStrip * sizeof(T)];
  double high[kReduceStrip];
  double low[kReduceStrip];
  unsigned char bad[kReduceStrip];
  for (std::int64_t j = 0; j < strip.cols; ++j) {
    largest[j] = -kInfinity;
    high[j] = low[j] = 0.0;
    bad[j] = 0;
  }
  for (std::int64_t i = 0; i < strip.count; ++i) {
    const std::byte* const row = strip_of<T>(strip, i, copy);
    for (std::int64_t j = 0; j < strip.cols; ++j) {
      const double x = number_at<T>(row, j);
      bad[j] = static_cast<unsigned char>(bad[j] | (x == x ? 0 : 1));
      largest[j] = x > largest[j] ? x : largest[j];
    }
  }
  bool valid = true;
  for (std::int64_t j = 0; j < strip.cols; ++j) valid &= bad[j] == 0;
  if (!valid) return false;
  const int bits = bits_of_count(strip.count);
  const double unit = bit_cast<double>(static_cast<std::uint64_t>(1023 + bits) << 52);  // 2^L
  const double round_high = 1.5 * unit;
  const double round_low = 1.5 * unit * unit * 0x1p-52;
  for (std::int64_t i = 0; i < strip.count; ++i) {
    const std::byte* const row = strip_of<T>(strip, i, copy);
    for (std::int64_t j = 0; j < strip.cols; ++j) {
      const double below = number_at<T>(row, j) - largest[j];
      const double value = exp_of_negative(below > -100.0 ? below : -100.0);
      const double first = (value + round_high) - round_high;
      const double second = ((value - first) + round_low) - round_low;
      high[j] += first;
      low[j] += second;
    }
  }
  for (std::int64_t j = 0; j < strip.cols; ++j) sum[j] = high[j] + low[j];
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
