// csrc/cpu against counts from the definitions, for each element type, layout, instruction set and number of threads.
//
// Every shard has a buffer of exactly its bytes, so that AddressSanitizer sees any read outside it. The cases are small
// enough for ThreadSanitizer.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <thread>

#include "core/draw_core.hpp"
#include "cpu/class_details.hpp"
#include "cpu/class_path.hpp"
#include "cpu/class_statistics.hpp"
#include "cpu/common_thresholds.hpp"
#include "cpu/count_hits.hpp"
#include "cpu/count_reached.hpp"
#include "cpu/sample_columns.hpp"
#include "cpu/rank_scan.hpp"
#include "cpu/row_ranks.hpp"
#include "cpu/score_curves.hpp"
#include "cpu/score_order.hpp"
#include "cpu/simd.hpp"
#include "cpu/tfrecord.hpp"
#include "cpu/tied_before.hpp"
#include "cpu/trial_average.hpp"
#include "cpu/trial_marks.hpp"
#include "cpu/weighted_average_precision.hpp"
#include "cpu/calibration.hpp"
#include "tests/check.hpp"

#if defined(__SANITIZE_THREAD__)
#define VLTR_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define VLTR_THREAD_SANITIZER 1
#endif
#endif

namespace vltr::cpu {
namespace {

using test::Random;
using test::trying;

constexpr int kThreads[] = {1, 2, 7};

// ---------------------------------------------------------------------------------------------------------------------
// Elements
// ---------------------------------------------------------------------------------------------------------------------

template <class T>
DType dtype_of();
#define VLTR_DTYPE(T, code) \
  template <>               \
  DType dtype_of<T>() {     \
    return DType::code;     \
  }
VLTR_DTYPE(bool, kBool)
VLTR_DTYPE(std::uint8_t, kUInt8)
VLTR_DTYPE(std::int8_t, kInt8)
VLTR_DTYPE(std::uint16_t, kUInt16)
VLTR_DTYPE(std::int16_t, kInt16)
VLTR_DTYPE(std::uint32_t, kUInt32)
VLTR_DTYPE(std::int32_t, kInt32)
VLTR_DTYPE(std::uint64_t, kUInt64)
VLTR_DTYPE(std::int64_t, kInt64)
VLTR_DTYPE(Float16, kFloat16)
VLTR_DTYPE(BFloat16, kBFloat16)
VLTR_DTYPE(float, kFloat32)
VLTR_DTYPE(double, kFloat64)
#undef VLTR_DTYPE

// A value to compare elements by, without the core.
template <class T>
T value_of(T element) {
  return element;
}
double value_of(Float16 element) {
  const int exponent = element.bits >> 10 & 31;
  const int fraction = element.bits & 1023;
  const double size = exponent == 31  ? (fraction != 0 ? std::nan("") : HUGE_VAL)
                      : exponent == 0 ? std::ldexp(fraction, -24)
                                      : std::ldexp(fraction + 1024, exponent - 25);
  return (element.bits & 0x8000) != 0 ? -size : size;
}
float value_of(BFloat16 element) {
  const std::uint16_t halves[2] = {0, element.bits};  // little-endian, as every processor here
  float value = 0;
  std::memcpy(&value, halves, sizeof(value));
  return value;
}

// The table's threshold for an element: its value, in the order of int64 for uint64.
template <class T>
LaneOf<T> threshold_of(T element) {
  if constexpr (std::is_same_v<T, std::uint64_t>) {
    return static_cast<std::int64_t>(element - (std::uint64_t{1} << 63));
  } else {
    return static_cast<LaneOf<T>>(value_of(element));
  }
}

template <class T>
T random_element(Random& random, bool coarse) {
  if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>) {
    for (;;) {
      const T element{static_cast<std::uint16_t>(coarse ? 0x3000 + random.below(12) : random.below(0x10000))};
      if (value_of(element) == value_of(element)) return element;
    }
  } else if constexpr (std::is_floating_point_v<T>) {
    if (coarse) return static_cast<T>(random.below(9) - 4) / 4;
    const T special[] = {0,
                         -T{0},
                         std::numeric_limits<T>::infinity(),
                         -std::numeric_limits<T>::infinity(),
                         std::numeric_limits<T>::denorm_min(),
                         std::numeric_limits<T>::max(),
                         std::numeric_limits<T>::lowest()};
    if (random.below(50) == 0) return special[random.below(7)];
    return static_cast<T>(random.below(1 << 30) - (1 << 29)) / 3;
  } else if constexpr (std::is_same_v<T, bool>) {
    return random.below(2) != 0;
  } else {
    if (coarse) return static_cast<T>(random.below(9));
    const T special[] = {0, 1, std::numeric_limits<T>::max(), std::numeric_limits<T>::min()};
    if (random.below(50) == 0) return special[random.below(4)];
    return static_cast<T>(random.bits());
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Matrices
// ---------------------------------------------------------------------------------------------------------------------

// Row-major values, from which all layouts are made.
template <class T>
struct Values {
  std::int64_t rows;
  std::int64_t cols;
  std::vector<T> data;

  Values(std::int64_t num_rows, std::int64_t num_cols)
      : rows(num_rows), cols(num_cols), data(static_cast<std::size_t>(rows * cols)) {}
  decltype(auto) at(std::int64_t row, std::int64_t col) { return data[row * cols + col]; }
  T at(std::int64_t row, std::int64_t col) const { return data[row * cols + col]; }
};

enum class Layout { kRowMajor, kColMajor, kUnaligned, kRowsReversed, kColsReversed, kSparse };
constexpr Layout kLayouts[] = {Layout::kRowMajor,     Layout::kColMajor,     Layout::kUnaligned,
                               Layout::kRowsReversed, Layout::kColsReversed, Layout::kSparse};
const char* const kLayoutNames[] = {"row-major",     "column-major",     "unaligned",
                                    "rows reversed", "columns reversed", "every third column"};

// A copy of the values as the given number of row shards. If there are more than two, the second is empty.
template <class T>
class Laid {
 public:
  Laid(const Values<T>& values, Layout layout, std::int64_t shards = 1) {
    matrix.dtype = dtype_of<T>();
    matrix.cols = values.cols;
    for (std::int64_t i = 0; i < shards; ++i) {
      const bool empty = i == 1 && shards > 2;
      add(values, layout, matrix.rows, empty ? matrix.rows : values.rows * (i + 1) / shards);
    }
    CHECK(matrix.rows == values.rows);
  }
  Matrix matrix;

 private:
  void add(const Values<T>& values, Layout layout, std::int64_t first, std::int64_t end) {
    constexpr std::int64_t kSize = sizeof(T);
    const std::int64_t rows = end - first;
    std::int64_t row_stride = values.cols * kSize;
    std::int64_t col_stride = kSize;
    if (layout == Layout::kColMajor) {
      row_stride = kSize;
      col_stride = std::max<std::int64_t>(1, rows) * kSize;
    } else if (layout == Layout::kUnaligned) {
      row_stride += 3;
    } else if (layout == Layout::kSparse) {
      row_stride *= 3;
      col_stride *= 3;
    }
    const std::int64_t offset = layout == Layout::kUnaligned ? 1 : 0;
    const std::int64_t bytes =
        rows == 0 ? 0 : offset + (rows - 1) * row_stride + (values.cols - 1) * col_stride + kSize;
    buffers_.emplace_back(new std::byte[bytes]);
    std::byte* data = buffers_.back().get() + (rows == 0 ? 0 : offset);
    std::fill(buffers_.back().get(), buffers_.back().get() + bytes,
              std::byte{0xFF});  // NaN in any float between the elements
    if (layout == Layout::kRowsReversed && rows > 0) {
      data += (rows - 1) * row_stride;
      row_stride = -row_stride;
    } else if (layout == Layout::kColsReversed && rows > 0) {
      data += (values.cols - 1) * col_stride;
      col_stride = -col_stride;
    }
    for (std::int64_t row = first; row < end; ++row) {
      for (std::int64_t col = 0; col < values.cols; ++col) {
        const T element = values.at(row, col);
        std::memcpy(data + (row - first) * row_stride + col * col_stride, &element, sizeof(T));
      }
    }
    matrix.append(data, rows, row_stride, col_stride);
  }

  std::vector<std::unique_ptr<std::byte[]>> buffers_;
};

OwnedPositives owned(Offsets offset, const Array<std::uint32_t>& rows) {
  LargeArray<std::uint32_t> memory;
  memory.resize(rows.count());
  std::copy(rows.begin(), rows.end(), memory.data());
  return {std::move(offset), std::move(memory)};
}

bool same(const Positives& a, const Positives& b) {
  return std::equal(a.offset.begin(), a.offset.end(), b.offset.begin(), b.offset.end()) &&
         std::equal(a.rows.begin(), a.rows.end(), b.rows.begin(), b.rows.end());
}

OwnedPositives positives_of(const Values<std::uint8_t>& labels) {
  Offsets offset{0};
  Array<std::uint32_t> rows;
  for (std::int64_t col = 0; col < labels.cols; ++col) {
    for (std::int64_t row = 0; row < labels.rows; ++row) {
      if (labels.at(row, col) != 0) rows.push_back(static_cast<std::uint32_t>(row));
    }
    offset.push_back(rows.count());
  }
  return owned(std::move(offset), rows);
}

// Classes of every kind: no positives, no negatives, one positive, few, about half, more than half.
Values<std::uint8_t> random_labels(Random& random, std::int64_t rows, std::int64_t cols) {
  Values<std::uint8_t> labels(rows, cols);
  for (std::int64_t col = 0; col < cols; ++col) {
    const int kind = random.below(8);
    const int percent = kind == 0 ? 0 : kind == 1 ? 100 : kind == 2 ? 50 : kind == 3 ? 80 : 3;
    for (std::int64_t row = 0; row < rows; ++row) labels.at(row, col) = random.below(100) < percent;
    if (kind == 4) labels.at(random.below(static_cast<int>(rows)), col) = 1;
  }
  return labels;
}

template <class T>
Values<T> random_scores(Random& random, std::int64_t rows, std::int64_t cols) {
  Values<T> scores(rows, cols);
  for (std::int64_t col = 0; col < cols; ++col) {
    const bool coarse = random.below(3) == 0;
    for (std::int64_t row = 0; row < rows; ++row) scores.at(row, col) = random_element<T>(random, coarse);
  }
  return scores;
}

// ---------------------------------------------------------------------------------------------------------------------
// The expected results of a rank scan
// ---------------------------------------------------------------------------------------------------------------------

// AP of a class on chosen negatives: the mean precision at each positive. Equal scores count together.
template <class T>
double defined_average_precision(const Values<T>& scores, std::int64_t col, const std::vector<std::uint32_t>& positives,
                                 const std::vector<std::uint32_t>& negatives) {
  using Value = decltype(value_of(T{}));
  const auto sorted = [&](const std::vector<std::uint32_t>& rows) {
    std::vector<Value> values;
    for (const std::uint32_t row : rows) values.push_back(value_of(scores.at(row, col)));
    std::sort(values.begin(), values.end());
    return values;
  };
  const std::vector<Value> hits = sorted(positives);
  const std::vector<Value> misses = sorted(negatives);
  long double sum = 0;
  for (const Value value : hits) {
    const auto above = hits.end() - std::lower_bound(hits.begin(), hits.end(), value);
    const auto wrong = misses.end() - std::lower_bound(misses.begin(), misses.end(), value);
    sum += static_cast<long double>(above) / static_cast<long double>(above + wrong);
  }
  return static_cast<double>(sum / static_cast<long double>(hits.size()));
}

// Rows of the negatives that a trial of a class draws. The class has fewer positives than negatives.
std::vector<std::uint32_t> defined_draws(const std::vector<std::uint32_t>& positives, std::uint32_t num_rows,
                                         std::uint64_t seed, std::int64_t col, std::int64_t trial) {
  const auto count = static_cast<std::uint32_t>(positives.size());
  std::vector<std::uint32_t> displaced(positives.size());
  displaced_negatives(positives.data(), count, num_rows, displaced.data());
  const KeyedPermutation permutation =
      keyed_permutation(num_rows - count, seed, static_cast<std::uint32_t>(col), static_cast<std::uint32_t>(trial));
  std::vector<std::uint32_t> rows;
  for (std::uint32_t i = 0; i < count; ++i)
    rows.push_back(row_of_negative(positives.data(), count, displaced.data(), permute(permutation, i)));
  return rows;
}

struct ClassRows {
  std::vector<std::uint32_t> positives;
  std::vector<std::uint32_t> negatives;

  ClassRows(const Values<std::uint8_t>& labels, std::int64_t col) {
    for (std::int64_t row = 0; row < labels.rows; ++row) {
      (labels.at(row, col) != 0 ? positives : negatives).push_back(static_cast<std::uint32_t>(row));
    }
  }
  std::vector<std::uint32_t> drawn(std::uint64_t seed, std::int64_t col, std::int64_t trial) const {
    if (positives.size() >= negatives.size()) return negatives;
    return defined_draws(positives, static_cast<std::uint32_t>(positives.size() + negatives.size()), seed, col, trial);
  }
};

template <class T>
RankTable defined_table(const Values<T>& scores, const Values<std::uint8_t>& labels) {
  using Value = decltype(value_of(T{}));
  RankTable table;
  table.offset.push_back(0);
  TableColumn<LaneOf<T>> thresholds;
  for (std::int64_t col = 0; col < scores.cols; ++col) {
    std::vector<Value> sides[2];
    std::vector<std::pair<Value, LaneOf<T>>> distinct;
    for (std::int64_t row = 0; row < scores.rows; ++row) {
      const bool positive = labels.at(row, col) != 0;
      const Value value = value_of(scores.at(row, col));
      sides[positive].push_back(value);
      if (positive) distinct.emplace_back(value, threshold_of(scores.at(row, col)));
    }
    for (auto& side : sides) std::sort(side.begin(), side.end());
    std::sort(distinct.begin(), distinct.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    distinct.erase(
        std::unique(distinct.begin(), distinct.end(), [](const auto& a, const auto& b) { return a.first == b.first; }),
        distinct.end());
    for (const auto& [value, threshold] : distinct) {
      const auto reached = [value = value](const std::vector<Value>& side) {
        return side.end() - std::lower_bound(side.begin(), side.end(), value);
      };
      const auto equal = std::equal_range(sides[0].begin(), sides[0].end(), value);
      thresholds.push_back(threshold);
      table.tp.push_back(reached(sides[1]));
      table.fp.push_back(reached(sides[0]));
      table.tied.push_back(equal.second - equal.first);
    }
    table.offset.push_back(static_cast<std::int64_t>(table.tp.size()));
  }
  table.thresholds = std::move(thresholds);
  return table;
}

template <class T>
std::vector<std::int32_t> defined_ranks(const Values<T>& scores, const Values<std::uint8_t>& labels) {
  std::vector<std::int32_t> ranks;
  for (std::int64_t row = 0; row < scores.rows; ++row) {
    std::int64_t best = -1;
    for (std::int64_t col = 0; col < scores.cols; ++col) {
      if (labels.at(row, col) != 0 && (best < 0 || value_of(scores.at(row, col)) > value_of(scores.at(row, best))))
        best = col;
    }
    std::int32_t rank = best < 0 ? -1 : 0;
    for (std::int64_t col = 0; best >= 0 && col < scores.cols; ++col) {
      const auto value = value_of(scores.at(row, col));
      const auto mark = value_of(scores.at(row, best));
      rank += value > mark || (value == mark && col < best);
    }
    ranks.push_back(rank);
  }
  return ranks;
}

template <class T>
std::vector<double> defined_trials(const Values<T>& scores, const Values<std::uint8_t>& labels, std::int64_t trials,
                                   std::uint64_t seed) {
  std::vector<double> out(trials * scores.cols);
  for (std::int64_t col = 0; col < scores.cols; ++col) {
    const ClassRows rows(labels, col);
    for (std::int64_t trial = 0; trial < trials; ++trial) {
      out[trial * scores.cols + col] =
          rows.positives.empty() ? std::nan("")
                                 : defined_average_precision(scores, col, rows.positives, rows.drawn(seed, col, trial));
    }
  }
  return out;
}

bool same(const RankTable& a, const RankTable& b) {
  return a.offset == b.offset && a.thresholds == b.thresholds && a.tp == b.tp && a.fp == b.fp && a.tied == b.tied;
}

bool close(double a, double b) { return std::isnan(b) ? std::isnan(a) : std::fabs(a - b) <= 1e-13; }

bool close(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](double x, double y) { return close(x, y); });
}

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

// Minus zero equals zero, so a table must not show the difference: its bits are guaranteed.
bool has_minus_zero(const RankTable& table) {
  return std::visit(
      [](const auto& thresholds) {
        return std::any_of(thresholds.begin(), thresholds.end(),
                           [](auto value) { return value == 0 && std::signbit(static_cast<double>(value)); });
      },
      table.thresholds);
}

// Calls function for each instruction set of this processor, selected by VLTR_SIMD.
template <class Function>
void for_each_simd(const Function& function) {
  for (const Simd level : simd_available()) {
    setenv("VLTR_SIMD", simd_name(level), 1);
    CHECK(simd_level() == level);
    function(simd_name(level));
  }
  unsetenv("VLTR_SIMD");
}

template <class T>
std::string describe(const Values<T>& values, Layout layout, std::int64_t shards, const char* simd, int threads) {
  return "dtype " + std::to_string(static_cast<int>(dtype_of<T>())) + ", " + std::to_string(values.rows) + " x " +
         std::to_string(values.cols) + " " + kLayoutNames[static_cast<int>(layout)] + ", " + std::to_string(shards) +
         " shards, " + simd + ", " + std::to_string(threads) + " threads";
}

RankScanRequest everything(int trials, std::uint64_t seed) {
  RankScanRequest request;
  request.trials = trials;
  request.seed = seed;
  request.ranks = true;
  return request;
}

// ---------------------------------------------------------------------------------------------------------------------
// Rank scan
// ---------------------------------------------------------------------------------------------------------------------

template <class T>
void check_rank_scan(Random& random, std::int64_t rows, std::int64_t cols, const std::vector<Layout>& layouts,
                     std::int64_t shards) {
  const Values<T> scores = random_scores<T>(random, rows, cols);
  const Values<std::uint8_t> labels = random_labels(random, rows, cols);
  const OwnedPositives positives = positives_of(labels);
  const std::uint64_t seed = random.bits();
  const RankScanRequest request = everything(3, seed);
  const RankTable table = defined_table(scores, labels);
  const std::vector<std::int32_t> ranks = defined_ranks(scores, labels);
  const std::vector<double> trials = defined_trials(scores, labels, request.trials, seed);
  std::vector<double> first_trials;
  for (const Layout layout : layouts) {
    const Laid<T> laid(scores, layout, shards);
    for_each_simd([&](const char* simd) {
      for (const int threads : kThreads) {
        trying = describe(scores, layout, shards, simd, threads);
        const RankScanResult result = rank_scan(laid.matrix, positives, request, Runner{threads, {}});
        CHECK(same(result.table, table));
        CHECK(!has_minus_zero(result.table));
        CHECK(result.ranks == ranks);
        CHECK(close(result.trials, trials));
        if (first_trials.empty()) first_trials = result.trials;
        CHECK(same_bits(result.trials, first_trials));
      }
    });
  }
}

template <class T>
void check_rank_scan_shapes() {
  Random random(static_cast<std::uint64_t>(dtype_of<T>()) + 1);
  const std::pair<std::int64_t, std::int64_t> shapes[] = {{1, 1},   {3, 5},    {15, 17},   {16, 16},
                                                          {17, 33}, {1023, 7}, {1025, 66}, {700, 130}};
  std::size_t next = static_cast<std::size_t>(dtype_of<T>());
  for (const auto& [rows, cols] : shapes) {
    // Small integers take the code paths of other types with the same lanes, which are tested with the large shapes.
    if (std::is_integral_v<T> && sizeof(T) < 8 && rows * cols > 20000) continue;
    check_rank_scan<T>(random, rows, cols, {kLayouts[next % 6]}, next % 3 == 0 ? 1 : 4);
    ++next;
  }
}

void rank_scan_counts_floats() {
  check_rank_scan_shapes<float>();
  check_rank_scan_shapes<double>();
}

void rank_scan_counts_small_floats() {
  check_rank_scan_shapes<Float16>();
  check_rank_scan_shapes<BFloat16>();
}

void rank_scan_counts_integers() {
  check_rank_scan_shapes<std::int64_t>();
  check_rank_scan_shapes<std::uint64_t>();
  check_rank_scan_shapes<std::int32_t>();
  check_rank_scan_shapes<std::uint32_t>();
  check_rank_scan_shapes<std::int16_t>();
  check_rank_scan_shapes<std::uint16_t>();
  check_rank_scan_shapes<std::int8_t>();
  check_rank_scan_shapes<std::uint8_t>();
  check_rank_scan_shapes<bool>();
}

void rank_scan_counts_in_every_layout() {
  Random random(100);
  const std::vector<Layout> all(std::begin(kLayouts), std::end(kLayouts));
  for (const std::int64_t shards : {1, 5}) {
    check_rank_scan<float>(random, 530, 37, all, shards);
    check_rank_scan<double>(random, 130, 67, all, shards);
    check_rank_scan<Float16>(random, 97, 129, all, shards);
    check_rank_scan<std::int64_t>(random, 97, 20, all, shards);
  }
  check_rank_scan<float>(random, 40, 1030, {Layout::kRowMajor, Layout::kColMajor},
                         2);                     // more than one range of classes
  check_rank_scan<float>(random, 3, 2, all, 7);  // more shards than rows
}

// All float16 values against thresholds at every third value: conversion and comparison in SIMD registers.
void rank_scan_orders_every_float16() {
  std::vector<Float16> elements;
  for (int bits = 0; bits < 0x10000; ++bits) {
    const Float16 element{static_cast<std::uint16_t>(bits)};
    if (!std::isnan(value_of(element))) elements.push_back(element);
  }
  Values<Float16> scores(static_cast<std::int64_t>(elements.size()), 1);
  scores.data = elements;
  Values<std::uint8_t> labels(scores.rows, 1);
  for (std::int64_t row = 0; row < labels.rows; row += 3) labels.at(row, 0) = 1;
  const RankTable table = defined_table(scores, labels);
  const OwnedPositives positives = positives_of(labels);
  for (const Layout layout : {Layout::kRowMajor, Layout::kSparse}) {
    const Laid<Float16> laid(scores, layout);
    for_each_simd([&](const char* simd) {
      trying = describe(scores, layout, 1, simd, 2);
      CHECK(same(rank_scan(laid.matrix, positives, {}, Runner{2, {}}).table, table));
    });
  }
}

// Trees of several depths: 16, 256, 4,096 and 65,536 thresholds, and one more.
template <class T>
void check_deep_tree(Random& random, std::int64_t positives) {
  Values<T> scores(positives + positives / 2 + 3, 1);
  Values<std::uint8_t> labels(scores.rows, 1);
  for (std::int64_t row = 0; row < scores.rows; ++row) {
    labels.at(row, 0) = row < positives;
    scores.at(row, 0) =
        static_cast<T>(row < positives ? 2 * row : random.below(static_cast<int>(2 * positives + 2)) - 1);
  }
  const RankTable table = defined_table(scores, labels);
  const Laid<T> laid(scores, Layout::kRowMajor);
  for_each_simd([&](const char* simd) {
    trying = describe(scores, Layout::kRowMajor, 1, simd, 2);
    CHECK(same(rank_scan(laid.matrix, positives_of(labels), {}, Runner{2, {}}).table, table));
  });
}

void rank_scan_counts_in_trees_of_every_depth() {
  Random random(200);
  for (const std::int64_t positives : {16, 17, 256, 257, 4096, 4097}) {
    check_deep_tree<float>(random, positives);
    check_deep_tree<double>(random, positives);
    check_deep_tree<std::int64_t>(random, positives);
  }
  check_deep_tree<float>(random, 65537);
}

// Many trials are sampled column by column, few in the pass of the rank scan. Both give the same trials.
void trials_are_the_same_in_pass_and_by_columns() {
  Random random(300);
  const Values<float> scores = random_scores<float>(random, 3001, 5);
  Values<std::uint8_t> labels(scores.rows, scores.cols);
  for (std::int64_t row = 0; row < scores.rows; ++row) {
    labels.at(row, 0) = row % 3 == 0;
    labels.at(row, 1) = random.below(2) == 0;
    labels.at(row, 2) = row > 2100;
    labels.at(row, 3) = row == 17;
  }
  const OwnedPositives positives = positives_of(labels);
  const int few = 4;
  const int many = 1600;
  for (const Layout layout : {Layout::kRowMajor, Layout::kColMajor}) {
    const Laid<float> laid(scores, layout, 3);
    CHECK(draws_fit_in_pass(laid.matrix, positives, few));
    CHECK(!draws_fit_in_pass(laid.matrix, positives, many));
    std::vector<double> expected;
    for_each_simd([&](const char* simd) {
      for (const int threads : {1, 3}) {
        trying = describe(scores, layout, 3, simd, threads);
        const std::vector<double> in_pass =
            rank_scan(laid.matrix, positives, everything(few, 5), Runner{threads, {}}).trials;
        std::vector<double> by_column =
            rank_scan(laid.matrix, positives, everything(many, 5), Runner{threads, {}}).trials;
        if (expected.empty()) expected = by_column;
        CHECK(same_bits(by_column, expected));
        by_column.resize(in_pass.size());
        CHECK(same_bits(in_pass, by_column));
        CHECK(close(in_pass, defined_trials(scores, labels, few, 5)));
      }
    });
  }
}

// A class whose negatives reach random numbers of thresholds, ordered by that number.
struct RandomClass {
  std::vector<std::uint32_t> reached;  // by number of the negative
  std::vector<std::uint32_t> by_score;
  std::vector<std::int64_t> tp;
  std::vector<std::int64_t> fp;

  RandomClass(Random& random, std::uint32_t negatives, int keys) : fp(static_cast<std::size_t>(keys)) {
    std::int64_t hits = 0;
    for (int k = 0; k < keys; ++k) tp.push_back(hits += k == 0 ? 1 : random.below(3));
    const int most = random.below(3) == 0 ? std::min(keys, 2) : keys;
    for (std::uint32_t i = 0; i < negatives; ++i) {
      reached.push_back(static_cast<std::uint32_t>(random.below(most + 1)));
      for (int k = keys - static_cast<int>(reached.back()); k < keys; ++k) ++fp[static_cast<std::size_t>(k)];
    }
    for (int k = 0; k < keys; ++k) {
      for (std::uint32_t i = 0; i < negatives; ++i) {
        if (reached[i] == static_cast<std::uint32_t>(keys - k)) by_score.push_back(i);
      }
    }
  }
  std::vector<double> defined_trials(std::uint32_t draws, std::uint64_t seed, std::uint32_t cls, std::int64_t first,
                                     std::int64_t count) const {
    std::vector<double> expected;
    const auto keys = static_cast<std::int64_t>(tp.size());
    for (std::int64_t trial = first; trial < first + count; ++trial) {
      std::vector<std::int32_t> drawn((tp.size() + 1) * kSapLanes);
      const KeyedPermutation permutation =
          keyed_permutation(static_cast<std::uint32_t>(reached.size()), seed, cls, static_cast<std::uint32_t>(trial));
      for (std::uint32_t i = 0; i < draws; ++i) {
        ++drawn[static_cast<std::size_t>(keys - reached[permute(permutation, i)]) * kSapLanes];
      }
      double ap[kSapLanes];
      sampled_average_precisions(tp.data(), drawn.data(), keys, ap);
      expected.push_back(ap[0]);
    }
    return expected;
  }
};

// Marks give the trials that look-ups of each draw give, and marks of the negatives that are not drawn give the same.
void check_marks(Random& random, std::uint32_t negatives, std::uint32_t draws, int keys, std::int64_t count) {
  const RandomClass own(random, negatives, keys);
  const std::uint64_t seed = random.bits();
  const std::int64_t first = random.below(100);
  const std::vector<double> expected = own.defined_trials(draws, seed, 7, first, count);
  for_each_simd([&](const char* simd) {
    trying = std::to_string(draws) + " of " + std::to_string(negatives) + ", " + std::to_string(keys) + " keys, " +
             std::to_string(count) + " trials, " + simd;
    MarkScratch scratch;
    // Two calls with the same scratch: the second must find it as the first did.
    for (int call = 0; call < 2; ++call) {
      std::vector<double> ap(static_cast<std::size_t>(2 * count));
      average_marked_kernel()({own.by_score.data(), own.tp.data(), own.fp.data(), keys, negatives, draws, 7, seed},
                              first, count, scratch, ap.data(), 2);
      for (std::int64_t i = 0; i < count; ++i) CHECK(ap[2 * i] == expected[i]);
    }
  });
}

void marked_trials_are_their_definition() {
  Random random(305);
  for (std::uint32_t negatives = 1; negatives < 70; ++negatives) {
    const auto some = static_cast<std::uint32_t>(random.below(static_cast<int>(negatives)));
    for (const std::uint32_t draws : {std::uint32_t{1}, negatives / 2, negatives / 2 + 1, negatives, 1 + some}) {
      if (draws == 0) continue;
      check_marks(random, negatives, draws, 1 + random.below(5), 1 + random.below(9));
    }
  }
  for (const std::int64_t count : {1, 8, 9, 16, 17, 32, 33, 64}) {
    for (const std::uint32_t negatives : {1023u, 1025u, 4096u, 4160u, 5000u}) {
      for (const std::uint32_t draws : {negatives / 40, negatives / 3, negatives - negatives / 5}) {
        check_marks(random, negatives, draws, 1 + random.below(300), count);
      }
    }
  }
}

template <class Lane>
void check_order(Random& random, std::int64_t negatives, std::int64_t count, int values) {
  const auto value = [&] { return static_cast<Lane>(random.below(values) - values / 2); };
  std::vector<Lane> keys;
  for (std::int64_t k = 0; k < count; ++k) keys.push_back(value());
  if (random.below(2) == 0) keys.push_back(std::numeric_limits<Lane>::max());
  std::sort(keys.begin(), keys.end(), std::greater<Lane>());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  count = static_cast<std::int64_t>(keys.size());
  std::vector<Lane> scores;
  for (std::int64_t i = 0; i < negatives; ++i) {
    scores.push_back(random.below(50) == 0 ? std::numeric_limits<Lane>::max() : value());
  }
  const auto group = [&](std::uint32_t number) {
    return std::lower_bound(keys.begin(), keys.end(), scores[number], std::greater<Lane>()) - keys.begin();
  };
  std::vector<std::int64_t> fp(keys.size());
  for (std::int64_t i = 0; i < negatives; ++i) {
    for (std::int64_t k = group(static_cast<std::uint32_t>(i)); k < count; ++k) ++fp[static_cast<std::size_t>(k)];
  }
  for_each_simd([&](const char* simd) {
    for (const std::int64_t parts : {std::int64_t{1}, std::int64_t{3}, count}) {
      trying = std::to_string(negatives) + " negatives, " + std::to_string(count) + " keys, " + simd;
      const auto reaching = static_cast<std::size_t>(fp.back());
      std::vector<Lane> moved_scores(reaching);
      std::vector<std::uint32_t> moved(reaching);
      std::vector<std::uint32_t> by_score(reaching);
      const OrderedClass<Lane> ordered{scores.data(), negatives,           keys.data(),  fp.data(),
                                       count,         moved_scores.data(), moved.data(), by_score.data()};
      for (std::int64_t part = 0; part < parts; ++part) {
        const std::int64_t first = part * count / parts;
        const std::int64_t end = (part + 1) * count / parts;
        if (first < end) order_part_kernel<Lane>()(ordered, first, end);
      }
      for (std::int64_t k = 0; k < count; ++k) {
        for (std::int64_t i = k == 0 ? 0 : fp[k - 1]; i < fp[k]; ++i) CHECK(group(by_score[i]) == k);
      }
      std::sort(by_score.begin(), by_score.end());
      CHECK(std::adjacent_find(by_score.begin(), by_score.end()) == by_score.end());
    }
  });
}

void negatives_are_ordered_by_score() {
  Random random(306);
  for (const std::int64_t count : {1, 2, 15, 17, 128, 129, 500, 3000}) {
    for (const int values : {2, 100, 1 << 24}) {
      check_order<float>(random, 1 + random.below(4000), count, values);
      check_order<double>(random, 1 + random.below(4000), count, values);
      check_order<std::int64_t>(random, 1 + random.below(4000), count, values);
    }
  }
}

// All classes by marks, whatever their number of draws, and the draws in the pass of the rank scan give the same
// trials, for each type and any number of threads: also for one class, whose trials and thresholds the threads share.
template <class T>
void check_marked_classes(Random& random) {
  for (const std::int64_t cols : {1, 19}) {
    const Values<T> scores = random_scores<T>(random, 1501, cols);
    Values<std::uint8_t> labels = random_labels(random, scores.rows, cols);
    for (std::int64_t row = 0; row < scores.rows; row += 3) labels.at(row, 0) = 1;
    const OwnedPositives positives = positives_of(labels);
    constexpr int kTrials = 11;
    for (const Layout layout : kLayouts) {
      for (const std::int64_t shards : {1, 3}) {
        const Laid<T> laid(scores, layout, shards);
        const RankScanResult expected = rank_scan(laid.matrix, positives, everything(kTrials, 5), Runner{});
        Array<std::int64_t> classes;
        for (std::int64_t c = 0; c < cols; c += 1 + (c == 4)) classes.push_back(c);
        for (const int threads : kThreads) {
          trying = describe(scores, layout, shards, "default", threads);
          std::vector<double> trials(static_cast<std::size_t>(kTrials * cols));
          mark_trials<T>(laid.matrix, positives, expected.table, classes, kTrials, 5, trials.data(),
                         Runner{threads, {}});
          for (int trial = 0; trial < kTrials; ++trial) {
            for (const std::int64_t c : classes) {
              CHECK(same_bits({trials[trial * cols + c]}, {expected.trials[trial * cols + c]}));
            }
          }
        }
      }
    }
  }
}

void marked_classes_are_those_of_the_pass() {
  Random random(307);
#define VLTR_CHECK(T) check_marked_classes<T>(random);
  VLTR_FOR_EACH_ELEMENT(VLTR_CHECK)
#undef VLTR_CHECK
}

// ---------------------------------------------------------------------------------------------------------------------
// Draws that are looked up without a rank scan
// ---------------------------------------------------------------------------------------------------------------------

std::vector<std::uint32_t> listed_draws(const Positives& positives, std::int64_t rows, const Trials& trials,
                                        std::uint64_t seed, const Runner& runner) {
  const std::vector<std::int64_t> offset = draw_offsets(positives, {rows}, trials);
  std::vector<std::uint32_t> drawn(offset.back());
  draw_rows(positives, rows, nullptr, trials, seed, offset, drawn.data(), runner);
  return drawn;
}

// Positives at random rows and at the last rows.
void check_draws(Random& random, std::int64_t rows, const std::vector<int>& positives_of_class, const Trials& trials) {
  Offsets positives_offset{0};
  Array<std::uint32_t> positives_rows;
  std::vector<std::uint32_t> expected;
  const std::uint64_t seed = random.bits();
  for (std::size_t c = 0; c < positives_of_class.size(); ++c) {
    std::vector<std::uint32_t> class_rows;
    for (int i = 0; i < positives_of_class[c]; ++i) {
      class_rows.push_back(static_cast<std::uint32_t>(
          i % 3 == 0 ? rows - 1 - i : static_cast<std::int64_t>(random.bits() % static_cast<std::uint64_t>(rows))));
    }
    std::sort(class_rows.begin(), class_rows.end());
    class_rows.erase(std::unique(class_rows.begin(), class_rows.end()), class_rows.end());
    positives_rows.insert(positives_rows.end(), class_rows.begin(), class_rows.end());
    positives_offset.push_back(positives_rows.count());
    if (2 * static_cast<std::int64_t>(class_rows.size()) >= rows) continue;
    for (std::int64_t trial = trials.first; trial < trials.first + trials.count; ++trial) {
      const auto drawn =
          defined_draws(class_rows, static_cast<std::uint32_t>(rows), seed, static_cast<std::int64_t>(c), trial);
      expected.insert(expected.end(), drawn.begin(), drawn.end());
    }
  }
  const OwnedPositives positives = owned(positives_offset, positives_rows);
  for_each_simd([&](const char* simd) {
    for (const int threads : kThreads) {
      trying = std::to_string(rows) + " rows, " + simd + ", " + std::to_string(threads) + " threads";
      CHECK(listed_draws(positives, rows, trials, seed, Runner{threads, {}}) == expected);
    }
  });
}

void draws_are_listed() {
  Random random(310);
  check_draws(random, 10, {0, 1, 3, 9, 8}, {0, 3});
  check_draws(random, 1000, {5, 0, 900, 499, 40}, {7, 0});
  check_draws(random, 1000, {5, 0, 900, 499, 40}, {7, 2});
  check_draws(random, 500000, {20000, 1, 30000, 0, 100, 20000}, {3, 3});  // many items
  check_draws(random, kMaxRows, {0, 1, 2000}, {(std::int64_t{1} << 31) - 2, 2});
  check_draws(random, 100, {}, {0, 5});
}

template <class T>
void check_reached(Random& random, std::int64_t count) {
  const Values<T> scores = random_scores<T>(random, 301, 19);
  const RankTable table = defined_table(scores, random_labels(random, scores.rows, scores.cols));
  const auto& thresholds = std::get<TableColumn<LaneOf<T>>>(table.thresholds);
  std::vector<std::uint32_t> rows, classes, expected;
  for (std::int64_t i = 0; i < count; ++i) {
    rows.push_back(static_cast<std::uint32_t>(random.below(301)));
    classes.push_back(static_cast<std::uint32_t>(random.below(19)));
    const LaneOf<T> score = threshold_of(scores.at(rows.back(), classes.back()));
    expected.push_back(static_cast<std::uint32_t>(std::count_if(thresholds.begin() + table.offset[classes.back()],
                                                                thresholds.begin() + table.offset[classes.back() + 1],
                                                                [=](auto key) { return score >= key; })));
  }
  for (const Layout layout : kLayouts) {
    for (const std::int64_t shards : {1, 4}) {
      const Laid<T> laid(scores, layout, shards);
      for (const int threads : {1, 3}) {
        trying = describe(scores, layout, shards, "default", threads);
        CHECK(count_reached(laid.matrix, {rows.data(), classes.data(), count}, table, Runner{threads, {}}) == expected);
      }
    }
  }
}

void reached_thresholds_are_counted() {
  Random random(320);
#define VLTR_CHECK(T) check_reached<T>(random, 500);
  VLTR_FOR_EACH_ELEMENT(VLTR_CHECK)
#undef VLTR_CHECK
  check_reached<float>(random, 40000);  // many items
  check_reached<float>(random, 0);

  Values<float> nan(1, 1);
  nan.at(0, 0) = std::numeric_limits<float>::quiet_NaN();
  const Laid<float> laid(nan, Layout::kRowMajor);
  RankTable table;
  table.offset = {0, 2};
  table.thresholds = TableColumn<float>{1, -std::numeric_limits<float>::infinity()};
  const std::uint32_t zero = 0;
  CHECK(count_reached(laid.matrix, {&zero, &zero, 1}, table, Runner{}) == std::vector<std::uint32_t>{0});
}

// The rows of a class with a label, the lowest scores first (sign 1) or the highest first (sign -1); at most `limit`.
template <class T>
std::vector<std::int64_t> defined_mistakes(const Values<T>& scores, const Values<std::uint8_t>& labels,
                                           std::int64_t col, bool label, std::size_t limit) {
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < scores.rows; ++row) {
    if ((labels.at(row, col) != 0) == label) rows.push_back(row);
  }
  std::stable_sort(rows.begin(), rows.end(), [&](std::int64_t a, std::int64_t b) {
    const LaneOf<T> one = threshold_of(scores.at(a, col));
    const LaneOf<T> other = threshold_of(scores.at(b, col));
    return label ? one < other : one > other;
  });
  rows.resize(limit, kNoRow);
  return rows;
}

template <class T>
void check_class_details(Random& random, std::int64_t rows, std::int64_t cols) {
  using Lane = LaneOf<T>;
  constexpr std::size_t kLimit = 3;
  constexpr std::int64_t kBins = 10;
  const Values<T> scores = random_scores<T>(random, rows, cols);
  const Values<std::uint8_t> labels = random_labels(random, rows, cols);
  const OwnedPositives positives = positives_of(labels);
  std::vector<std::int64_t> missed, wrong;
  for (std::int64_t col = 0; col < cols; ++col) {
    for (const std::int64_t row : defined_mistakes(scores, labels, col, true, kLimit)) missed.push_back(row);
    for (const std::int64_t row : defined_mistakes(scores, labels, col, false, kLimit)) wrong.push_back(row);
  }
  std::vector<std::uint32_t> first_counts;
  for (const Layout layout : {Layout::kRowMajor, Layout::kColMajor, Layout::kSparse}) {
    const Laid<T> laid(scores, layout, 4);
    for_each_simd([&](const char* simd) {
      for (const int threads : kThreads) {
        trying = describe(scores, layout, 4, simd, threads);
        const Runner runner{threads, {}};
        const ClassExtremes found = class_extremes(laid.matrix, positives, kLimit, runner);
        CHECK(found.missed_rows == missed && found.false_rows == wrong);
        const ScoreHistograms counts = score_histograms(laid.matrix, positives, found.low, found.high, kBins, runner);
        const auto& low = std::get<TableColumn<Lane>>(found.low);
        const auto& high = std::get<TableColumn<Lane>>(found.high);
        for (std::int64_t col = 0; col < cols; ++col) {
          std::int64_t at_low = 0;
          std::int64_t positive = 0;
          for (std::int64_t row = 0; row < rows; ++row) {
            const Lane lane = threshold_of(scores.at(row, col));
            const bool is_finite = lane - lane == Lane{0};
            CHECK(!is_finite || (low[col] <= lane && lane <= high[col]));
            at_low += lane <= low[col];
            positive += labels.at(row, col);
          }
          const auto sum = [=](const Array<std::uint32_t>& of) {
            return std::accumulate(of.begin() + col * kBins, of.begin() + (col + 1) * kBins, std::int64_t{0});
          };
          CHECK(sum(counts.positives) == positive && sum(counts.negatives) == rows - positive);
          CHECK(counts.positives[col * kBins] + counts.negatives[col * kBins] >= at_low);
        }
        std::vector<std::uint32_t> all(counts.positives);
        all.insert(all.end(), counts.negatives.begin(), counts.negatives.end());
        if (first_counts.empty()) first_counts = all;
        CHECK(all == first_counts);
      }
    });
  }
}

void class_details_are_those_of_the_definitions() {
  Random random(321);
#define VLTR_CHECK(T) check_class_details<T>(random, 37, 5);
  VLTR_FOR_EACH_ELEMENT(VLTR_CHECK)
#undef VLTR_CHECK
  check_class_details<float>(random, 2100, 67);
  check_class_details<double>(random, 1025, 3);
  check_class_details<float>(random, 20, 1030);  // more than one range of classes

  Values<float> nan(2, 3);
  nan.at(1, 2) = std::numeric_limits<float>::quiet_NaN();
  const Laid<float> laid(nan, Layout::kRowMajor);
  try {
    class_extremes(laid.matrix, positives_of(Values<std::uint8_t>(2, 3)), 1, Runner{});
    CHECK(!"a NaN was not found");
  } catch (const BadValue& bad) {
    CHECK(bad.row == 1 && bad.col == 2);
  }
}

// Every score is a threshold, its counts are those of a walk over all rows, and a request keeps and takes what it says.
template <class T>
void check_score_curves(Random& random, std::int64_t rows, std::int64_t cols) {
  using Lane = LaneOf<T>;
  const Values<T> scores = random_scores<T>(random, rows, cols);
  const Values<std::uint8_t> labels = random_labels(random, rows, cols);
  const OwnedPositives positives = positives_of(labels);
  Array<CurveRequest> requests;
  for (const auto kept : {KeptThresholds::kAll, KeptThresholds::kHitChanges, KeptThresholds::kCorners}) {
    for (const bool from_lowest : {false, true}) {
      for (const std::int64_t step : {1, 3}) requests.push_back({kept, from_lowest, step - 1, step});
    }
  }
  std::vector<std::vector<Lane>> thresholds(cols);
  std::vector<std::vector<std::int64_t>> tp(cols), reached(cols);
  for (std::int64_t col = 0; col < cols; ++col) {
    for (std::int64_t row = 0; row < rows; ++row) thresholds[col].push_back(threshold_of(scores.at(row, col)));
    std::sort(thresholds[col].begin(), thresholds[col].end(), std::greater<Lane>());
    thresholds[col].erase(std::unique(thresholds[col].begin(), thresholds[col].end()), thresholds[col].end());
    for (const Lane threshold : thresholds[col]) {
      tp[col].push_back(0);
      reached[col].push_back(0);
      for (std::int64_t row = 0; row < rows; ++row) {
        const bool reaches = threshold_of(scores.at(row, col)) >= threshold;
        reached[col].back() += reaches;
        tp[col].back() += reaches && labels.at(row, col) != 0;
      }
    }
  }
  const auto is_kept = [&](KeptThresholds kept, std::int64_t col, std::int64_t i) {
    const auto& hits = tp[col];
    const auto& counts = reached[col];
    const auto last = static_cast<std::int64_t>(hits.size()) - 1;
    if (kept == KeptThresholds::kAll || i == 0 || i == last) return true;
    if (kept == KeptThresholds::kHitChanges) return hits[i] != hits[i - 1] || hits[i] != hits[i + 1];
    return 2 * hits[i] != hits[i - 1] + hits[i + 1] || 2 * counts[i] != counts[i - 1] + counts[i + 1];
  };
  for (const Layout layout : {Layout::kRowMajor, Layout::kColMajor, Layout::kUnaligned}) {
    const Laid<T> laid(scores, layout, 3);
    for_each_simd([&](const char* simd) {
      for (const int threads : kThreads) {
        trying = describe(scores, layout, 3, simd, threads);
        const Array<ScoreCurves> curves = score_curves(laid.matrix, positives, requests, Runner{threads, {}});
        CHECK(curves.count() == requests.count());
        for (std::int64_t r = 0; r < requests.count(); ++r) {
          const CurveRequest& request = requests[r];
          std::int64_t next = 0;
          for (std::int64_t col = 0; col < cols; ++col) {
            std::vector<std::int64_t> kept;
            for (std::int64_t i = 0; i < static_cast<std::int64_t>(tp[col].size()); ++i) {
              if (is_kept(request.kept, col, i)) kept.push_back(i);
            }
            const auto count = static_cast<std::int64_t>(kept.size());
            CHECK(curves[r].offset[col] == next && curves[r].kept[col] == count);
            for (std::int64_t k = 0; k < count; ++k) {
              const std::int64_t number = (request.from_lowest ? count - 1 - k : k) - request.first;
              if (number < 0 || number % request.step != 0) continue;
              CHECK(next < curves[r].offset[col + 1]);
              CHECK(std::get<TableColumn<Lane>>(curves[r].thresholds)[next] == thresholds[col][kept[k]]);
              CHECK(curves[r].tp[next] == tp[col][kept[k]] && curves[r].reached[next] == reached[col][kept[k]]);
              ++next;
            }
            CHECK(curves[r].offset[col + 1] == next);
          }
        }
      }
    });
  }
}

void score_curves_count_every_score() {
  Random random(340);
#define VLTR_CHECK(T) check_score_curves<T>(random, 37, 5);
  VLTR_FOR_EACH_ELEMENT(VLTR_CHECK)
#undef VLTR_CHECK
  check_score_curves<float>(random, 1100, 3);
  check_score_curves<double>(random, 1, 1);

  Values<float> nan(2, 3);
  nan.at(1, 2) = std::numeric_limits<float>::quiet_NaN();
  const Laid<float> laid(nan, Layout::kRowMajor);
  try {
    score_curves(laid.matrix, positives_of(Values<std::uint8_t>(2, 3)), {CurveRequest{}}, Runner{});
    CHECK(!"a NaN was not found");
  } catch (const BadValue& bad) {
    CHECK(bad.row == 1 && bad.col == 2);
  }
}

// Listing, looking up and counting draws in separate calls gives the trials of a rank scan.
void counted_trials_are_those_of_a_rank_scan() {
  Random random(330);
  const Values<float> scores = random_scores<float>(random, 400, 23);
  const OwnedPositives positives = positives_of(random_labels(random, scores.rows, scores.cols));
  const Laid<float> laid(scores, Layout::kRowMajor);
  constexpr int kTrials = 11;
  const std::vector<std::uint32_t> rows = listed_draws(positives, scores.rows, {0, kTrials}, 5, Runner{});
  const RankScanResult expected = rank_scan(laid.matrix, positives, everything(kTrials, 5), Runner{});
  const std::vector<std::int64_t>& offset = expected.table.offset;
  std::vector<std::uint32_t> classes;
  for (std::int64_t c = 0; c < scores.cols; ++c) {
    classes.insert(classes.end(), static_cast<std::size_t>(kTrials * draws_per_trial(positives, {scores.rows}, c)),
                   static_cast<std::uint32_t>(c));
  }
  const std::vector<std::uint32_t> counts = count_reached(
      laid.matrix, {rows.data(), classes.data(), static_cast<std::int64_t>(rows.size())}, expected.table, {});
  std::vector<std::int32_t> drawn(kTrials * offset.back());
  std::size_t slot = 0;
  for (std::int64_t c = 0; c < scores.cols; ++c) {
    for (int trial = 0; trial < kTrials; ++trial) {
      for (std::int64_t i = 0; i < draws_per_trial(positives, {scores.rows}, c); ++i, ++slot) {
        const std::int64_t k = offset[c + 1] - counts[slot];
        if (counts[slot] != 0) ++drawn[trial * offset.back() + k];
      }
    }
  }
  for (const int threads : kThreads) {
    trying = std::to_string(threads) + " threads";
    Array<double> trials(kTrials * scores.cols);
    average_trials(expected.table, {scores.rows}, search_all(scores.cols).searched, kTrials, trials.data(),
                   Runner{threads, {}}, [&](std::int64_t c, std::int64_t, TrialAverage& average) {
                     const std::int32_t* trial_counts = drawn.data() + offset[c];
                     for (int trial = 0; trial < kTrials; ++trial, trial_counts += offset.back())
                       average.add_trial(trial_counts);
                   });
    CHECK(same_bits(trials, expected.trials));
  }
}

// Shards that are counted against the thresholds of all, and then added, give the table of the whole.
template <class T>
void check_merge(Random& random) {
  const Values<T> scores = random_scores<T>(random, 301, 19);
  const Values<std::uint8_t> labels = random_labels(random, scores.rows, scores.cols);
  const RankTable whole = defined_table(scores, labels);
  RankTable given;
  given.offset = whole.offset;
  given.thresholds = whole.thresholds;
  RankTable sum = whole;
  for (auto* counts : {&sum.tp, &sum.fp, &sum.tied}) std::fill(counts->begin(), counts->end(), 0);
  for (const auto& [first, end] : {std::pair<std::int64_t, std::int64_t>{0, 100}, {100, 101}, {101, 301}}) {
    Values<T> part(end - first, scores.cols);
    Values<std::uint8_t> part_labels(end - first, scores.cols);
    for (std::int64_t row = first; row < end; ++row) {
      for (std::int64_t col = 0; col < scores.cols; ++col) {
        part.at(row - first, col) = scores.at(row, col);
        part_labels.at(row - first, col) = labels.at(row, col);
      }
    }
    const Laid<T> laid(part, Layout::kRowMajor);
    trying = describe(part, Layout::kRowMajor, 1, "default", 2);
    const Runner runner{2, {}};
    const RankTable local = positive_scores(laid.matrix, positives_of(part_labels), runner);
    const RankTable local_defined = defined_table(part, part_labels);
    CHECK(local.offset == local_defined.offset && local.thresholds == local_defined.thresholds &&
          local.tp == local_defined.tp);
    RankScanRequest request;
    request.given = &given;
    const RankTable counted = rank_scan(laid.matrix, positives_of(part_labels), request, runner).table;
    CHECK(counted.offset == whole.offset && counted.thresholds == whole.thresholds);
    for (std::size_t k = 0; k < sum.tp.size(); ++k) {
      sum.tp[k] += counted.tp[k];
      sum.fp[k] += counted.fp[k];
      sum.tied[k] += counted.tied[k];
    }
  }
  CHECK(same(sum, whole));
}

void shards_add_up_to_the_whole() {
  Random random(400);
  for (int repeat = 0; repeat < 5; ++repeat) {
    check_merge<float>(random);
    check_merge<double>(random);
    check_merge<std::uint64_t>(random);
    check_merge<BFloat16>(random);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// NaN
// ---------------------------------------------------------------------------------------------------------------------

template <class T>
T nan_of(int which) {
  if constexpr (std::is_same_v<T, Float16>) {
    return Float16{static_cast<std::uint16_t>((which % 2 != 0 ? 0xFC00 : 0x7C00) | (1 + which * 37 % 1023))};
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return BFloat16{static_cast<std::uint16_t>((which % 2 != 0 ? 0xFF80 : 0x7F80) | (1 + which % 127))};
  } else {
    return which % 2 != 0 ? -std::numeric_limits<T>::signaling_NaN() : std::numeric_limits<T>::quiet_NaN();
  }
}

template <class T>
void check_nan() {
  Random random(500 + static_cast<std::uint64_t>(dtype_of<T>()));
  for (int repeat = 0; repeat < 24; ++repeat) {
    const std::int64_t rows = 1 + random.below(60) + (repeat % 6 == 0 ? 1024 : 0);
    const std::int64_t cols = 1 + random.below(70);
    Values<T> scores = random_scores<T>(random, rows, cols);
    const Values<std::uint8_t> labels = random_labels(random, rows, cols);
    std::int64_t first = rows * cols;
    for (int i = 0; i <= repeat % 4; ++i) {
      const std::int64_t flat_index = random.below(static_cast<int>(rows * cols));
      scores.data[flat_index] = nan_of<T>(random.below(2000));
      first = std::min(first, flat_index);
    }
    const Layout layout = kLayouts[repeat % 6];
    const Laid<T> laid(scores, layout, 1 + repeat % 3);
    for_each_simd([&](const char* simd) {
      for (const int threads : kThreads) {
        trying = describe(scores, layout, 1 + repeat % 3, simd, threads);
        const std::vector<double> weights(static_cast<std::size_t>(rows), 1.0);
        for (const bool weighted : {false, true}) {
          try {
            if (weighted) {
              weighted_average_precision(laid.matrix, positives_of(labels), weights.data(), Runner{threads, {}});
            } else {
              rank_scan(laid.matrix, positives_of(labels), everything(repeat % 2, 0), Runner{threads, {}});
            }
            CHECK(!"a NaN was not found");
          } catch (const BadValue& bad) {
            CHECK(bad.row == first / cols && bad.col == first % cols);
            CHECK(std::string(bad.what()) == "scores");
          }
        }
      }
    });
  }
}

void passes_name_the_first_nan() {
  check_nan<float>();
  check_nan<double>();
  check_nan<Float16>();
  check_nan<BFloat16>();
}

// ---------------------------------------------------------------------------------------------------------------------
// Labels, weights
// ---------------------------------------------------------------------------------------------------------------------

template <class T>
T one() {
  if constexpr (std::is_same_v<T, Float16>) {
    return Float16{0x3C00};
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return BFloat16{0x3F80};
  } else {
    return T{1};
  }
}

template <class T>
T random_zero(Random& random) {
  if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>) {
    return T{static_cast<std::uint16_t>(random.below(2) == 0 ? 0 : 0x8000)};
  } else if constexpr (std::is_floating_point_v<T>) {
    return random.below(2) == 0 ? T{0} : -T{0};
  } else {
    return T{0};
  }
}

// Bad labels of all kinds: NaN, 0.5, the neighbours of 1, -1, 2, one bit in the highest byte.
template <class T>
T random_bad(Random& random) {
  if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>) {
    for (;;) {
      const T element{static_cast<std::uint16_t>(random.below(2) == 0 ? one<T>().bits + 1 - 2 * random.below(2)
                                                                      : random.below(0x10000))};
      if (value_of(element) != 0 && value_of(element) != 1) return element;
    }
  } else if constexpr (std::is_floating_point_v<T>) {
    const T bad[] = {T(0.5),
                     -1,
                     2,
                     std::nextafter(T{1}, T{2}),
                     std::numeric_limits<T>::quiet_NaN(),
                     std::numeric_limits<T>::denorm_min()};
    return bad[random.below(6)];
  } else {
    const T bad[] = {T(2), T(-1), static_cast<T>(std::uint64_t{1} << (8 * sizeof(T) - 1)), T(3)};
    return bad[random.below(4)];
  }
}

template <class T>
void check_labels(std::int64_t rows, std::int64_t cols, int per_mille) {
  Random random(static_cast<std::uint64_t>(rows * cols + per_mille));
  Values<T> labels(rows, cols);
  Values<std::uint8_t> truth(rows, cols);
  for (std::size_t i = 0; i < labels.data.size(); ++i) {
    truth.data[i] = random.below(1000) < per_mille;
    labels.data[i] = truth.data[i] != 0 ? one<T>() : random_zero<T>(random);
  }
  const OwnedPositives expected = positives_of(truth);
  Values<T> spoilt = labels;
  std::int64_t first = rows * cols;
  if constexpr (!std::is_same_v<T, bool>) {
    for (int i = 0; i < 3; ++i) {
      const std::int64_t flat_index = random.below(static_cast<int>(rows * cols));
      spoilt.data[flat_index] = random_bad<T>(random);
      first = std::min(first, flat_index);
    }
  }
  for (const Layout layout : kLayouts) {
    const std::int64_t shards = 1 + rows % 4;
    const Laid<T> laid(labels, layout, shards);
    const Laid<T> bad(spoilt, layout, shards);
    for (const int threads : kThreads) {
      trying = describe(labels, layout, shards, "no", threads);
      const OwnedPositives found = find_positives(laid.matrix, Runner{threads, {}});
      CHECK(same(found, expected));
      if constexpr (!std::is_same_v<T, bool>) {
        try {
          find_positives(bad.matrix, Runner{threads, {}});
          CHECK(!"a bad label was not found");
        } catch (const BadValue& error) {
          CHECK(error.row == first / cols && error.col == first % cols);
          CHECK(std::string(error.what()) == "labels");
        }
      }
    }
  }
}

template <class T>
void check_labels_of_shapes() {
  const std::pair<std::int64_t, std::int64_t> shapes[] = {{1, 1}, {5, 3}, {16, 128}, {33, 129}, {40, 257}, {1500, 9}};
  int per_mille = 0;
  for (const auto& [rows, cols] : shapes) {
    check_labels<T>(rows, cols, per_mille);
    per_mille = per_mille == 0 ? 4 : per_mille * 3 % 1001;
  }
}

void find_positives_finds_them() {
  check_labels_of_shapes<bool>();
  check_labels_of_shapes<std::uint8_t>();
  check_labels_of_shapes<std::int8_t>();
  check_labels_of_shapes<std::uint16_t>();
  check_labels_of_shapes<std::int16_t>();
  check_labels_of_shapes<std::uint32_t>();
  check_labels_of_shapes<std::int32_t>();
  check_labels_of_shapes<std::uint64_t>();
  check_labels_of_shapes<std::int64_t>();
  check_labels_of_shapes<Float16>();
  check_labels_of_shapes<BFloat16>();
  check_labels_of_shapes<float>();
  check_labels_of_shapes<double>();
  check_labels<std::uint8_t>(66000, 3, 20);  // more rows than a tile holds
  check_labels<bool>(140000, 1, 500);
  check_labels<float>(20000, 70, 300);
  check_labels<std::uint8_t>(20000, 70, 40);
  for (const std::int64_t cols : {2, 31, 32, 33, 63, 64, 65, 128, 200}) {  // many ones: tiles are transposed
    for (const std::int64_t rows : {64, 65, 391}) check_labels<std::uint8_t>(rows, cols, 300);
  }
}

void any_byte_but_zero_is_true() {
  const std::byte bytes[] = {std::byte{0}, std::byte{1}, std::byte{2}, std::byte{255}};
  Matrix matrix{DType::kBool, 0, 4, {}};
  matrix.append(bytes, 1, 4, 1);
  const std::vector<std::int64_t> offset{0, 0, 1, 2, 3};
  CHECK(find_positives(matrix, Runner{}).offset_memory == offset);
}

// AP with sums of weights instead of counts.
template <class T>
long double defined_weighted_ap(const Values<T>& scores, const Values<std::uint8_t>& labels,
                                const std::vector<double>& weights, std::int64_t col) {
  long double sum = 0;
  long double total = 0;
  for (std::int64_t i = 0; i < scores.rows; ++i) {
    if (labels.at(i, col) == 0) continue;
    long double hits = 0;
    long double all = 0;
    for (std::int64_t j = 0; j < scores.rows; ++j) {
      if (value_of(scores.at(j, col)) < value_of(scores.at(i, col))) continue;
      all += weights[j];
      if (labels.at(j, col) != 0) hits += weights[j];
    }
    total += weights[i];
    if (all > 0) sum += weights[i] * (hits / all);
  }
  return total > 0 ? sum / total : std::nanl("");
}

template <class T>
void check_weights(Random& random, std::int64_t rows, std::int64_t cols) {
  const Values<T> scores = random_scores<T>(random, rows, cols);
  const Values<std::uint8_t> labels = random_labels(random, rows, cols);
  std::vector<double> weights;
  for (std::int64_t row = 0; row < rows; ++row)
    weights.push_back(random.below(4) == 0 ? 0.0 : std::ldexp(1 + random.below(1000), -random.below(20)));
  std::vector<double> expected;
  for (std::int64_t col = 0; col < cols; ++col)
    expected.push_back(static_cast<double>(defined_weighted_ap(scores, labels, weights, col)));
  for (const Layout layout : {Layout::kRowMajor, Layout::kColMajor, Layout::kRowsReversed}) {
    const Laid<T> laid(scores, layout, 2);
    std::vector<double> first;
    for_each_simd([&](const char* simd) {
      for (const int threads : kThreads) {
        trying = describe(scores, layout, 2, simd, threads);
        const std::vector<double> out =
            weighted_average_precision(laid.matrix, positives_of(labels), weights.data(), Runner{threads, {}});
        CHECK(close(out, expected));
        if (first.empty()) first = out;
        CHECK(same_bits(out, first));
      }
    });
  }
}

void weighted_average_precision_equals_its_definition() {
  Random random(600);
  check_weights<float>(random, 131, 35);
  check_weights<double>(random, 50, 17);
  check_weights<std::int64_t>(random, 33, 3);
  check_weights<Float16>(random, 1, 1);
}

// Classes of any number of thresholds, below and above the number up to which a class is read in tiles.
template <class T>
void check_weightings(Random& random, std::int64_t rows, std::int64_t weightings) {
  constexpr std::int64_t kCols = 19;
  Values<T> scores(rows, kCols);
  for (T& score : scores.data) score = static_cast<T>(random.below(1 << 22));
  Values<std::uint8_t> labels(rows, kCols);
  for (std::int64_t col = 0; col < kCols; ++col) {
    const int percent = col == 0 || col == 17 ? 70 : static_cast<int>(col % 3);
    for (std::int64_t row = 0; row < rows; ++row) labels.at(row, col) = random.below(100) < percent;
  }
  const auto positives = positives_of(labels);
  std::vector<double> weights;
  for (std::int64_t i = 0; i < weightings * rows; ++i)
    weights.push_back(random.below(5) == 0 ? 0 : random.below(99) / 7.0);
  for (const Layout layout : {Layout::kRowMajor, Layout::kColMajor}) {
    const Laid<T> laid(scores, layout, 3);
    std::vector<double> first;
    for_each_simd([&](const char* simd) {
      for (const int threads : kThreads) {
        trying = describe(scores, layout, 3, simd, threads);
        const Runner runner{threads, {}};
        const std::vector<double> out =
            weighted_average_precisions(laid.matrix, positives, weights.data(), weightings, runner);
        std::vector<double> alone;
        for (std::int64_t w = 0; w < weightings; ++w) {
          const std::vector<double> one =
              weighted_average_precision(laid.matrix, positives, weights.data() + w * rows, runner);
          alone.insert(alone.end(), one.begin(), one.end());
        }
        CHECK(same_bits(out, alone));
        if (first.empty()) first = out;
        CHECK(same_bits(out, first));
      }
    });
    for (std::int64_t col = 0; col < kCols; ++col) {
      const std::vector<double> of_last(weights.end() - rows, weights.end());
      const auto expected = static_cast<double>(defined_weighted_ap(scores, labels, of_last, col));
      CHECK(close({first[(weightings - 1) * kCols + col]}, {expected}));
    }
  }
}

void weightings_in_one_pass_equal_one_at_a_time() {
  Random random(601);
  check_weightings<float>(random, 2100, 2);
  check_weightings<std::int64_t>(random, 1700, 5);
  check_weightings<double>(random, 40, 3);
}

// ---------------------------------------------------------------------------------------------------------------------
// Hits, statistics of classes
// ---------------------------------------------------------------------------------------------------------------------

void hits_are_counted_as_defined() {
  Random random(610);
  for (const std::int64_t rows : {0, 1, 300, 40000}) {
    const auto positives = positives_of(rows == 0 ? Values<std::uint8_t>(0, 6) : random_labels(random, rows, 6));
    const std::int64_t classes = positives.classes();
    Array<std::int32_t> ranks(rows);
    for (std::int32_t& rank : ranks) rank = random.below(8) - 1;
    const std::int32_t topk[] = {1, 5, 7};
    HitCounts expected{0, Array<std::int64_t>(3), Array<std::int64_t>(3 * classes)};
    for (const std::int32_t rank : ranks) expected.labelled += rank >= 0;
    for (std::int64_t i = 0; i < 3; ++i) {
      for (const std::int32_t rank : ranks) expected.rows[i] += rank >= 0 && rank < topk[i];
      for (std::int64_t c = 0; c < classes; ++c) {
        for (const std::uint32_t row : positives.rows_of(c)) {
          expected.classes[i * classes + c] += ranks[row] >= 0 && ranks[row] < topk[i];
        }
      }
    }
    for (const int threads : kThreads) {
      const HitCounts hits = count_hits({ranks.data(), rows}, {positives.offset.data(), classes + 1},
                                        positives.rows.data(), {topk, 3}, Runner{threads, {}});
      CHECK(hits.labelled == expected.labelled && hits.rows == expected.rows && hits.classes == expected.classes);
    }
  }
}

void statistics_are_those_of_single_metrics() {
  Random random(611);
  const Values<float> scores = random_scores<float>(random, 500, 40);
  const Laid<float> laid(scores, Layout::kRowMajor);
  const auto positives = positives_of(random_labels(random, 500, 40));
  const RankTable table = rank_scan(laid.matrix, positives, {}, Runner{}).table;
  const TableColumns columns{
      {table.offset.data(), table.offset.count()}, table.tp.data(), table.fp.data(), table.tied.data(), 500};
  for (const int threads : kThreads) {
    const ClassStatistics found = class_statistics(columns, Runner{threads, {}});
    for (std::int64_t c = 0; c < 40; ++c) {
      const std::int64_t first = table.offset.first(c);
      const std::int64_t count = table.offset.length(c);
      const std::int64_t hits = positives.offset.length(c);
      std::int64_t tied = 0;
      for (const std::uint32_t row : positives.rows_of(c)) {
        bool is_tied = false;
        for (std::int64_t other = 0; other < 500; ++other) {
          const bool positive = std::binary_search(positives.rows_of(c).begin(), positives.rows_of(c).end(), other);
          is_tied |= !positive && scores.at(other, c) == scores.at(row, c);
        }
        tied += is_tied;
      }
      CHECK(found.tied_positives[c] == tied);
      const double ap = average_precision(table.tp.data() + first, table.fp.data() + first, count);
      CHECK(same_bits({found.average_precision[c]}, {ap}));
      CHECK(same_bits({found.roc_auc[c]}, {roc_auc(table.tp.data() + first, table.fp.data() + first,
                                                   table.tied.data() + first, count, 500 - hits)}));
      CHECK(same_bits({found.chance[c]}, {sampled_average_precision_chance(hits, 500 - hits)}));
      CHECK(hits == 0 ? std::isnan(found.tie_lower[c]) && std::isnan(found.tie_upper[c])
                      : found.tie_lower[c] <= ap && ap <= found.tie_upper[c]);
    }
  }
}

void counts_out_of_range_are_found() {
  for (const std::int64_t size : {0, 1, 7, 70000}) {
    Array<std::int64_t> counts(size, 5);
    const auto valid = [&](std::int64_t most) { return are_counts({counts.data(), size}, most, Runner{2, {}}); };
    CHECK(valid(5) && valid(std::numeric_limits<std::int64_t>::max()));
    if (size == 0) continue;
    CHECK(!valid(4));
    for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{6}, std::numeric_limits<std::int64_t>::max(),
                                   std::numeric_limits<std::int64_t>::min()}) {
      counts[size - 1] = bad;
      CHECK(!valid(5));
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Calibration
// ---------------------------------------------------------------------------------------------------------------------

// Probabilities with an exact float16, of which many are on the edge of a bin.
template <class T>
T probability(Random& random) {
  const int value = random.below(3) == 0 ? random.below(5) * 256 : random.below(1025);
  if constexpr (std::is_same_v<T, Float16>) {
    // value / 1024 as a half: with an exponent that makes the leading bit implicit.
    if (value == 0) return Float16{0};
    int shift = 0;
    while ((value << shift & 1024) == 0) ++shift;
    return Float16{static_cast<std::uint16_t>((15 - shift) << 10 | ((value << shift) & 1023))};
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(value > 512);
  } else {
    return static_cast<T>(value) / 1024;
  }
}

template <class T>
std::int64_t in_1024ths(T element) {
  return static_cast<std::int64_t>(value_of(element) * 1024);
}

// The sums by integer arithmetic: bin k of b holds k < p * b <= k + 1.
template <class T>
Array<std::int64_t> defined_calibration(const Values<T>& scores, const Values<std::uint8_t>& labels,
                                        std::int64_t bins) {
  const std::int64_t columns = calibration_columns(bins);
  Array<std::int64_t> sums(scores.cols * columns, 0);
  for (std::int64_t col = 0; col < scores.cols; ++col) {
    std::int64_t* const out = sums.data() + col * columns;
    for (std::int64_t row = 0; row < scores.rows; ++row) {
      const std::int64_t p = in_1024ths(scores.at(row, col));
      const std::int64_t bin = std::max<std::int64_t>(0, (p * bins + 1023) / 1024 - 1);
      const bool positive = labels.at(row, col) != 0;
      ++out[bin];
      out[2 * bins + bin] += p << 30;
      out[3 * bins + bin] += positive;
      out[4 * bins + 1] += p * p << 20;
      out[4 * bins + 3] += positive ? p << 30 : 0;
    }
  }
  return sums;
}

// Carries the low parts of the sums over to the high ones.
void carry(Array<std::int64_t>& sums, std::int64_t bins) {
  const std::int64_t columns = calibration_columns(bins);
  for (std::int64_t first = 0; first < sums.count(); first += columns) {
    const auto carry_one = [&](std::int64_t high, std::int64_t low) {
      sums[first + high] += sums[first + low] >> 32;
      sums[first + low] &= 0xFFFFFFFF;
    };
    for (std::int64_t bin = 0; bin < bins; ++bin) carry_one(bins + bin, 2 * bins + bin);
    carry_one(4 * bins, 4 * bins + 1);
    carry_one(4 * bins + 2, 4 * bins + 3);
  }
}

template <class T>
void check_calibration(Random& random, std::int64_t rows, std::int64_t cols, std::int64_t bins) {
  Values<T> scores(rows, cols);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t col = 0; col < cols; ++col) scores.at(row, col) = probability<T>(random);
  }
  const Values<std::uint8_t> labels = random_labels(random, rows, cols);
  Array<std::int64_t> expected = defined_calibration(scores, labels, bins);
  carry(expected, bins);
  for (const Layout layout : kLayouts) {
    const Laid<T> laid(scores, layout, 3);
    for_each_simd([&](const char* simd) {
      for (const int threads : kThreads) {
        trying = describe(scores, layout, 3, simd, threads);
        Array<std::int64_t> sums = calibration_sums(laid.matrix, positives_of(labels), bins, Runner{threads, {}});
        carry(sums, bins);
        CHECK(sums == expected);
      }
    });
  }
}

void calibration_sums_are_their_definition() {
  Random random(900);
  check_calibration<float>(random, 50, 133, 15);
  check_calibration<double>(random, 1100, 5, 4);
  check_calibration<Float16>(random, 21, 17, 7);
  check_calibration<bool>(random, 33, 3, 2);
  check_calibration<std::int64_t>(random, 10, 2, 1);
  check_calibration<float>(random, 3, 1, kMaxBins);
}

void calibration_names_the_first_score_outside() {
  const auto first = [](float outside, std::int64_t row, std::int64_t col, int threads) {
    Values<float> scores(2100, 130);
    for (float& score : scores.data) score = 0.5F;
    scores.at(row, col) = outside;
    scores.at(2099, 0) = 2;
    const Laid<float> laid(scores, Layout::kRowMajor, 2);
    try {
      calibration_sums(laid.matrix, positives_of(Values<std::uint8_t>(2100, 130)), 15, Runner{threads, {}});
    } catch (const BadValue& error) {
      return error.row == row && error.col == col;
    }
    return false;
  };
  for (const float outside : {-0.5F, 1.5F, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    for (const int threads : kThreads) CHECK(first(outside, 1030, 129, threads));
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// The pool
// ---------------------------------------------------------------------------------------------------------------------

void check_every_item_once(int threads, std::int64_t items) {
  std::vector<std::atomic<int>> runs(items);
  std::vector<std::atomic<bool>> busy(threads);
  Runner{threads, {}}.run(items, [&](std::int64_t item, int worker) {
    CHECK(worker >= 0 && worker < threads);
    CHECK(!busy[worker].exchange(true));  // no two items share a worker at the same time
    ++runs[item];
    busy[worker] = false;
  });
  CHECK(std::all_of(runs.begin(), runs.end(), [](const auto& count) { return count == 1; }));
}

void pool_runs_every_item_once() {
  for (int repeat = 0; repeat < 50; ++repeat) {
    for (const int threads : {1, 2, 7, 3, 16}) {
      for (const std::int64_t items : {0, 1, 2, 5, 100}) {
        trying = std::to_string(threads) + " threads, " + std::to_string(items) + " items";
        check_every_item_once(threads, items);
      }
    }
  }
}

void pool_gives_back_what_a_task_throws() {
  struct Planned : std::runtime_error {
    Planned() : std::runtime_error("planned") {}
  };
  for (const int threads : kThreads) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      trying = std::to_string(threads) + " threads";
      std::atomic<int> runs{0};
      CHECK_THROWS(Planned, Runner{threads, {}}.run(1000, [&](std::int64_t item, int) {
        ++runs;
        if (item % 100 == 40) throw Planned();
      }));
      CHECK(runs >= 41 && runs <= 41 + threads * 100);
      check_every_item_once(threads, 30);
    }
  }
}

void pool_stops_on_request() {
  for (const int threads : kThreads) {
    trying = std::to_string(threads) + " threads";
    std::atomic<int> runs{0};
    int polls = 0;
    double last = 0.0;
    const auto caller = std::this_thread::get_id();
    const Runner runner{threads, [&](double share) {
                          CHECK(std::this_thread::get_id() == caller);
                          CHECK(share >= last && share <= 1.0);
                          last = share;
                          return ++polls == 2;
                        }};
    CHECK_THROWS(Cancelled, runner.run(2000, [&](std::int64_t, int) {
      ++runs;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }));
    CHECK(polls == 2 && runs > 0 && runs < 2000);
    check_every_item_once(threads, 30);
  }
}

// Each phase has its fraction of the call, and a phase of cost 0 has none.
void phases_share_a_call() {
  std::vector<double> shares;
  const Runner whole{1, [&](double share) {
                       shares.push_back(share);
                       return false;
                     }};
  const Runner second_half = whole.share(0.5, 1.0);
  const Phases phases(second_half, {1.0, 0.0, 3.0});
  const auto work = [](std::int64_t, int) { std::this_thread::sleep_for(std::chrono::milliseconds(55)); };
  phases.phase(0).run(4, work);
  CHECK(shares == (std::vector<double>{0.53125, 0.5625, 0.59375, 0.625}));
  shares.clear();
  phases.phase(1).run(1, work);
  CHECK(shares == std::vector<double>{0.625});
  shares.clear();
  phases.phase(2).run(2, work);
  CHECK(shares == (std::vector<double>{0.8125, 1.0}));
}

// Waking a thread takes longer than a short phase.
void short_phases_run_alone() {
  const Runner four{4, {}};
  CHECK(four.for_cost(1000.0).threads == 1 && four.for_cost(1e6).threads == 4);
  const Phases phases(four, {1000.0, 1e6});
  CHECK(phases.phase(0).threads == 1 && phases.phase(1).threads == 4);
}

void steps_are_several_a_thread() {
  CHECK(items_per_step(1000, 16, 2) == 16);
  CHECK(items_per_step(20, 16, 2) == 1);
  CHECK(items_per_step(64, 16, 1) == 8);
  CHECK(items_per_step(0, 16, 1) == 1);
}

// A matrix of little memory: all rows are the same row, and a rank scan takes long enough to be stopped.
void rank_scan_stops_on_request() {
  std::array<float, 64> row{};
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i);
  Matrix matrix{DType::kFloat32, 0, 64, {}};
  matrix.append(reinterpret_cast<const std::byte*>(row.data()), std::int64_t{1} << 27, 0, sizeof(float));
  Offsets offset;
  Array<std::uint32_t> rows;
  for (std::int64_t c = 0; c <= 64; ++c) offset.push_back(c);
  for (std::uint32_t c = 0; c < 64; ++c) rows.push_back(c);
  const OwnedPositives positives = owned(offset, rows);
  for (const int threads : kThreads) {
    trying = std::to_string(threads) + " threads";
    CHECK_THROWS(Cancelled, rank_scan(matrix, positives, {}, Runner{threads, [](double) { return true; }}));
  }
}

void many_callers_share_the_pool() {
  Random random(700);
  const Values<float> scores = random_scores<float>(random, 1100, 70);
  const Values<std::uint8_t> labels = random_labels(random, scores.rows, scores.cols);
  const Laid<float> laid(scores, Layout::kRowMajor, 2);
  const Laid<std::uint8_t> laid_labels(labels, Layout::kRowMajor);
  const OwnedPositives positives = positives_of(labels);
  const RankTable table = defined_table(scores, labels);
  const RankScanResult alone = rank_scan(laid.matrix, positives, everything(4, 1), Runner{});
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 5; ++caller) {
    callers.emplace_back([&, caller] {
      trying = "caller " + std::to_string(caller);
      for (int repeat = 0; repeat < 6; ++repeat) {
        const Runner runner{1 + (caller + repeat) % 4, {}};
        const RankScanResult result = rank_scan(laid.matrix, positives, everything(4, 1), runner);
        CHECK(same(result.table, table) && result.ranks == alone.ranks && same_bits(result.trials, alone.trials));
        CHECK(same(find_positives(laid_labels.matrix, runner), positives));
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

// A child has none of its parent's threads and must not wait for them. ThreadSanitizer and qemu-user do not support
// children that start threads.
void pool_works_after_fork() {
#if !defined(VLTR_THREAD_SANITIZER) && !defined(VLTR_QEMU_USER)
  check_every_item_once(4, 100);
  for (int repeat = 0; repeat < 3; ++repeat) {
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);  // fails instead of hanging
      const int before = test::failures.load();
      check_every_item_once(4, 100);
      _exit(test::failures.load() == before ? 0 : 1);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    check_every_item_once(4, 100);
  }
#endif
}

void simd_level_follows_the_environment() {
  setenv("VLTR_SIMD", "sse9", 1);
  CHECK_THROWS(std::invalid_argument, simd_level());
  setenv("VLTR_SIMD", "", 1);
  CHECK(simd_level() == simd_available().back());
  unsetenv("VLTR_SIMD");
  CHECK(simd_level() == simd_available().back());
  CHECK(simd_available().front() == Simd::kGeneric);
}

// Messages of a tf.SequenceExample with the features "a" and "ab", changed at random, in a buffer of exactly their
// bytes.
void any_bytes_are_safe_as_records() {
  CHECK(crc32c(reinterpret_cast<const unsigned char*>("123456789"), 9) == 0xe3069283U);
  const std::vector<unsigned char> whole = {10, 14, 10, 12, 10, 1,   'a', 18, 7, 26, 5, 10, 3, 1,  150, 1,   18,
                                            16, 10, 14, 10, 2,  'a', 'b', 18, 8, 10, 6, 10, 4, 10, 2,   'x', 'y'};
  const std::vector<FeatureRequest> requests = {{"a", FeatureKind::kInt64, false}, {"ab", FeatureKind::kBytes, true}};
  const std::int64_t start = 0;
  Runner runner;
  const auto size = static_cast<std::int64_t>(whole.size());
  const ParsedRecords right = parse_records(whole.data(), &start, &size, 1, requests, runner);
  CHECK(right.status == ParseStatus::kParsed);
  CHECK((right.columns[0].integers == std::vector<std::int64_t>{1, 150}));
  CHECK((right.columns[1].spans == std::vector<std::int64_t>{size - 2, 2}));
  Random random(17);
  for (int round = 0; round < 20000; ++round) {
    const std::int64_t length = random.below(static_cast<int>(size) + 1);
    const std::unique_ptr<unsigned char[]> bytes(new unsigned char[static_cast<std::size_t>(length)]);
    std::copy(whole.begin(), whole.begin() + length, bytes.get());
    for (int change = random.below(4); change > 0 && length > 0; --change) {
      bytes[static_cast<std::size_t>(random.below(static_cast<int>(length)))] =
          static_cast<unsigned char>(random.below(256));
    }
    const ParsedRecords parsed = parse_records(bytes.get(), &start, &length, 1, requests, runner);
    for (const FeatureColumn& column : parsed.columns) {
      for (std::size_t k = 0; k < column.spans.size(); k += 2) {
        CHECK(column.spans[k] >= 0 && column.spans[k] + column.spans[k + 1] <= length);
      }
    }
    const RecordIndex index = index_records(bytes.get(), length, runner);
    CHECK(index.offset.empty() && index.end == 0);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Ties in row order
// ---------------------------------------------------------------------------------------------------------------------

// Every second threshold of the table is left out, so that classes have some of their thresholds, or none.
template <class T>
void check_ties_in_row_order(Random& random, std::int64_t rows, std::int64_t cols) {
  const Values<std::uint8_t> labels = random_labels(random, rows, cols);
  Values<T> scores = random_scores<T>(random, rows, cols);
  for (std::int64_t row = 0; row < rows; ++row) scores.at(row, 0) = scores.at(0, 0);  // a column of one score
  const OwnedPositives positives = positives_of(labels);

  // Cells that are left out: a third of the negatives of the odd classes.
  Offsets unknown_offset{0};
  Array<std::uint32_t> unknown_rows;
  Array<std::int64_t> unknown_count;
  for (std::int64_t col = 0; col < cols; ++col) {
    for (std::int64_t row = 0; row < rows; ++row) {
      if (col % 2 == 1 && labels.at(row, col) == 0 && random.below(3) == 0) {
        unknown_rows.push_back(static_cast<std::uint32_t>(row));
      }
    }
    unknown_count.push_back(unknown_rows.count() - unknown_offset.back());
    unknown_offset.push_back(unknown_rows.count());
  }
  UnknownCells unknown;
  unknown.rows = rows;
  unknown.count = {unknown_count.data(), cols};
  unknown.offset = {unknown_offset.data(), cols + 1};
  unknown.listed = {unknown_rows.data(), unknown_rows.count()};

  const RankTable all = defined_table(scores, labels);
  RankTable some;
  some.offset.push_back(0);
  TableColumn<LaneOf<T>> thresholds;
  Array<std::int64_t> start{0};
  Array<std::uint32_t> expected;
  for (std::int64_t col = 0; col < cols; ++col) {
    for (std::int64_t k = all.offset[col] + col % 2; k < all.offset[col + 1]; k += 2) {
      const LaneOf<T> threshold = std::get<TableColumn<LaneOf<T>>>(all.thresholds)[k];
      thresholds.push_back(threshold);
      std::uint32_t before = 0;
      for (std::int64_t row = 0; row < rows; ++row) {
        if (threshold_of(scores.at(row, col)) != threshold) continue;
        const bool is_unknown =
            std::binary_search(unknown_rows.begin() + unknown_offset[col],
                               unknown_rows.begin() + unknown_offset[col + 1], static_cast<std::uint32_t>(row));
        if (labels.at(row, col) != 0) {
          expected.push_back(before);
        } else if (!is_unknown) {
          ++before;
        }
      }
      start.push_back(expected.count());
    }
    some.offset.push_back(thresholds.count());
  }
  some.thresholds = std::move(thresholds);
  for_each_simd([&](const char* simd) {
    for (const Layout layout : kLayouts) {
      for (const int threads : kThreads) {
        trying = describe(scores, layout, threads, simd, threads);
        Laid<T> laid(scores, layout, threads);
        laid.matrix.unknown = &unknown;
        const Array<std::uint32_t> found =
            count_tied_before(laid.matrix, positives, some, {start.data(), start.count()}, Runner{threads, {}});
        CHECK(found == expected);
      }
    }
  });
}

void ties_in_row_order_are_counted() {
  Random random(91);
  check_ties_in_row_order<float>(random, 2600, 90);
  check_ties_in_row_order<Float16>(random, 1300, 20);
  check_ties_in_row_order<double>(random, 700, 5);
  check_ties_in_row_order<std::int64_t>(random, 300, 18);
  check_ties_in_row_order<std::uint8_t>(random, 40, 3);
  check_ties_in_row_order<bool>(random, 1, 1);
}

// ---------------------------------------------------------------------------------------------------------------------
// Thresholds of all classes, and ranks within rows
// ---------------------------------------------------------------------------------------------------------------------

template <class T>
void check_common_thresholds_and_rows(Random& random, std::int64_t rows, std::int64_t cols) {
  using Lane = LaneOf<T>;
  const Values<std::uint8_t> labels = random_labels(random, cols, rows);  // by row: lists of classes
  const Values<T> scores = random_scores<T>(random, rows, cols);
  const OwnedPositives by_row = positives_of(labels);
  TableColumn<Lane> thresholds;
  for (int i = 0; i < 40; ++i) thresholds.push_back(threshold_of(random_element<T>(random, i % 2 == 0)));
  std::sort(thresholds.begin(), thresholds.end());
  thresholds.erase(std::unique(thresholds.begin(), thresholds.end()), thresholds.end());
  const std::int64_t width = thresholds.count() + 1;
  Array<std::int64_t> counts(cols * width);
  Array<std::int64_t> pooled(width);
  TableColumn<Lane> bounds;
  Array<std::uint32_t> reaching;
  const std::int64_t k = std::min<std::int64_t>(5, cols);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t col = 0; col < cols; ++col) {
      const Lane lane = threshold_of(scores.at(row, col));
      std::int64_t reached = 0;
      for (const Lane threshold : thresholds) reached += lane >= threshold;
      ++counts[col * width + reached];
      ++pooled[reached];
      if (labels.at(col, row) == 0) continue;
      bounds.push_back(lane);
      std::uint32_t above = 0;
      for (std::int64_t other = 0; other < cols; ++other) {
        above += labels.at(other, row) == 0 && threshold_of(scores.at(row, other)) >= lane;
      }
      reaching.push_back(above);
    }
  }
  // Each third threshold is one of classes.
  Array<std::int64_t> some(width);
  for (std::int64_t i = 1; i < width; ++i) some[i] = some[i - 1] + (i % 3 == 0 ? 1 : 0);
  const std::int64_t some_width = some.back() + 1;
  Array<std::int64_t> some_counts(cols * some_width);
  for (std::int64_t i = 0; i < counts.count(); ++i) {
    some_counts[i / width * some_width + some[i % width]] += counts[i];
  }
  const LaneColumn given(thresholds);
  const LaneColumn given_bounds(bounds);
  for (const Layout layout : kLayouts) {
    for (const int threads : kThreads) {
      trying = describe(scores, layout, threads, "any", threads);
      const Laid<T> laid(scores, layout, threads);
      const Runner runner{threads, {}};
      CHECK(count_at_common(laid.matrix, given, false, runner) == counts);
      CHECK(count_at_common(laid.matrix, given, true, runner) == pooled);
      const CommonCounts both = count_at_both(laid.matrix, given, {some.data(), some.count()}, runner);
      CHECK(both.of_classes == some_counts);
      CHECK(both.pooled == pooled);
      CHECK(count_in_rows(laid.matrix, by_row, given_bounds, runner) == reaching);
      for (const Preference preference :
           {Preference::kLowClass, Preference::kHighClass, Preference::kNegative, Preference::kPositive}) {
        const TopCells top = top_of_rows(laid.matrix, by_row, k, preference, runner);
        for (std::int64_t row = 0; row < rows; ++row) {
          std::vector<std::int32_t> order(cols);
          std::iota(order.begin(), order.end(), 0);
          const auto preferred = [&](std::int32_t c) {
            const std::int32_t hit = labels.at(c, row);
            return preference == Preference::kLowClass    ? 0
                   : preference == Preference::kHighClass ? c
                   : preference == Preference::kNegative  ? -hit
                                                          : hit;
          };
          std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
            const Lane first = threshold_of(scores.at(row, a));
            const Lane second = threshold_of(scores.at(row, b));
            return first != second ? first > second : preferred(a) > preferred(b);
          });
          std::sort(order.begin(), order.begin() + k);
          for (std::int64_t j = 0; j < k; ++j) {
            const std::int32_t c = order[static_cast<std::size_t>(j)];
            CHECK(top.cls[row * k + j] == c);
            CHECK(std::get<TableColumn<Lane>>(top.score)[row * k + j] == threshold_of(scores.at(row, c)));
            CHECK(top.hit[row * k + j] == labels.at(c, row));
          }
        }
      }
    }
  }
}

void common_thresholds_and_rows_are_counted() {
  Random random(93);
  check_common_thresholds_and_rows<float>(random, 300, 90);
  check_common_thresholds_and_rows<Float16>(random, 130, 33);
  check_common_thresholds_and_rows<double>(random, 70, 5);
  check_common_thresholds_and_rows<std::int64_t>(random, 90, 40);
  check_common_thresholds_and_rows<std::uint64_t>(random, 30, 8);
  check_common_thresholds_and_rows<bool>(random, 3, 1);
}

void scores_that_change_between_passes_are_noticed() {
  Random random(92);
  const Values<std::uint8_t> labels = random_labels(random, 200, 9);
  Values<float> scores = random_scores<float>(random, 200, 9);
  const RankTable table = defined_table(scores, labels);
  const OwnedPositives positives = positives_of(labels);
  Array<std::int64_t> start{0};
  for (std::int64_t c = 0; c < 9; ++c) {
    for (std::int64_t k = table.offset[c]; k < table.offset[c + 1]; ++k) {
      start.push_back(start.back() + table.tp[k] - (k == table.offset[c] ? 0 : table.tp[k - 1]));
    }
  }
  const Laid<float> laid(scores, Layout::kRowMajor);
  const Span<const std::int64_t> starts{start.data(), start.count()};
  CHECK(count_tied_before(laid.matrix, positives, table, starts, {}).count() == positives.rows.count());
  for (float& score : scores.data) score += score < 0 ? 1e30f : -1e30f;
  const Laid<float> changed(scores, Layout::kRowMajor);
  bool thrown = false;
  try {
    count_tied_before(changed.matrix, positives, table, starts, {});
  } catch (const ScoresChanged&) {
    thrown = true;
  }
  CHECK(thrown);
  thrown = false;
  try {
    count_tied_before(laid.matrix, positives, table, starts, Runner{1, [](double) { return true; }, {}});
  } catch (const Cancelled&) {
    thrown = true;
  }
  CHECK(thrown);
}

}  // namespace
}  // namespace vltr::cpu

int main() {
  using namespace vltr::cpu;
  std::printf("instruction sets:");
  for (const Simd level : simd_available()) std::printf(" %s", simd_name(level));
  std::printf("\n");
  return vltr::test::run_tests({
      {"simd_level_follows_the_environment", simd_level_follows_the_environment},
      {"pool_runs_every_item_once", pool_runs_every_item_once},
      {"pool_gives_back_what_a_task_throws", pool_gives_back_what_a_task_throws},
      {"pool_stops_on_request", pool_stops_on_request},
      {"phases_share_a_call", phases_share_a_call},
      {"short_phases_run_alone", short_phases_run_alone},
      {"steps_are_several_a_thread", steps_are_several_a_thread},
      {"pool_works_after_fork", pool_works_after_fork},
      {"find_positives_finds_them", find_positives_finds_them},
      {"any_byte_but_zero_is_true", any_byte_but_zero_is_true},
      {"rank_scan_counts_floats", rank_scan_counts_floats},
      {"rank_scan_counts_small_floats", rank_scan_counts_small_floats},
      {"rank_scan_counts_integers", rank_scan_counts_integers},
      {"rank_scan_counts_in_every_layout", rank_scan_counts_in_every_layout},
      {"rank_scan_orders_every_float16", rank_scan_orders_every_float16},
      {"rank_scan_counts_in_trees_of_every_depth", rank_scan_counts_in_trees_of_every_depth},
      {"passes_name_the_first_nan", passes_name_the_first_nan},
      {"rank_scan_stops_on_request", rank_scan_stops_on_request},
      {"trials_are_the_same_in_pass_and_by_columns", trials_are_the_same_in_pass_and_by_columns},
      {"draws_are_listed", draws_are_listed},
      {"reached_thresholds_are_counted", reached_thresholds_are_counted},
      {"class_details_are_those_of_the_definitions", class_details_are_those_of_the_definitions},
      {"score_curves_count_every_score", score_curves_count_every_score},
      {"marked_trials_are_their_definition", marked_trials_are_their_definition},
      {"negatives_are_ordered_by_score", negatives_are_ordered_by_score},
      {"marked_classes_are_those_of_the_pass", marked_classes_are_those_of_the_pass},
      {"counted_trials_are_those_of_a_rank_scan", counted_trials_are_those_of_a_rank_scan},
      {"shards_add_up_to_the_whole", shards_add_up_to_the_whole},
      {"weighted_average_precision_equals_its_definition", weighted_average_precision_equals_its_definition},
      {"weightings_in_one_pass_equal_one_at_a_time", weightings_in_one_pass_equal_one_at_a_time},
      {"hits_are_counted_as_defined", hits_are_counted_as_defined},
      {"statistics_are_those_of_single_metrics", statistics_are_those_of_single_metrics},
      {"counts_out_of_range_are_found", counts_out_of_range_are_found},
      {"calibration_sums_are_their_definition", calibration_sums_are_their_definition},
      {"calibration_names_the_first_score_outside", calibration_names_the_first_score_outside},
      {"any_bytes_are_safe_as_records", any_bytes_are_safe_as_records},
      {"ties_in_row_order_are_counted", ties_in_row_order_are_counted},
      {"common_thresholds_and_rows_are_counted", common_thresholds_and_rows_are_counted},
      {"scores_that_change_between_passes_are_noticed", scores_that_change_between_passes_are_noticed},
      {"many_callers_share_the_pool", many_callers_share_the_pool},
  });
}
