// csrc/core against published answers, brute force and full enumeration. The references share no code with csrc/core.
#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "core/draw_core.hpp"
#include "core/element.hpp"
#include "core/exact_sum_core.hpp"
#include "core/exp_core.hpp"
#include "core/sap_core.hpp"
#include "core/sort_key.hpp"
#include "core/tie_core.hpp"
#include "core/tree_core.hpp"
#include "core/weight_core.hpp"
#include "tests/check.hpp"

namespace vltr {
namespace {

using test::trying;

bool close(double value, long double expected, long double tolerance) {
  return std::fabs(static_cast<long double>(value) - expected) <= tolerance * std::max(1.0L, std::fabs(expected));
}

// ---------------------------------------------------------------------------------------------------------------------
// philox_core.hpp, draw_core.hpp
// ---------------------------------------------------------------------------------------------------------------------

void philox_gives_the_published_answers() {
  struct Answer {
    Philox counter;
    std::uint32_t key[2];
    std::uint32_t expected[4];
  };
  const Answer answers[] = {
      // kat_vectors of Random123, philox4x32 with 10 rounds
      {{{0, 0, 0, 0}}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Answer& answer : answers) {
    const Philox result = philox4x32(answer.counter, answer.key[0], answer.key[1]);
    CHECK(std::equal(answer.expected, answer.expected + 4, result.word));
  }
}

void hash_gives_the_published_answers() {
  // MurmurHash3_x86_32 of an empty key is its finaliser alone, applied to the seed.
  CHECK(keyed_hash(0, 0) == 0);
  CHECK(keyed_hash(0, 1) == 0x514E28B7);
  CHECK(keyed_hash(1, 0) == 0x514E28B7);
  CHECK(keyed_hash(0xffffffff, 0) == 0x81F16F39);
}

// The permutation by the definition in its header, in wide arithmetic and one point at a time.
std::uint64_t defined_permutation(std::uint64_t index, std::uint64_t size, std::uint64_t seed, std::uint32_t cls,
                                  std::uint32_t trial) {
  std::uint64_t a = 1;
  while (a * a < size) ++a;
  const std::uint64_t b = (size + a - 1) / a;
  const int rounds = size < 1024 ? 16 : 8;
  std::vector<std::uint32_t> key;
  for (std::uint32_t block = 0; block < 4; ++block) {
    const Philox random = philox4x32({{cls, trial, block, 0}}, static_cast<std::uint32_t>(seed & 0xffffffff),
                                     static_cast<std::uint32_t>(seed >> 32));
    key.insert(key.end(), random.word, random.word + 4);
  }
  std::uint64_t point = index;
  do {
    std::uint64_t left = point % a;
    std::uint64_t right = point / a;
    for (auto round = key.begin(); round != key.begin() + rounds; round += 2) {
      left = (left + ((keyed_hash(static_cast<std::uint32_t>(right), round[0]) * a) >> 32)) % a;
      right = (right + ((keyed_hash(static_cast<std::uint32_t>(left), round[1]) * b) >> 32)) % b;
    }
    point = right * a + left;
  } while (point >= size);
  return point;
}

void check_permutation(std::uint32_t size, std::uint64_t seed, std::uint32_t cls, std::uint32_t trial) {
  trying = "size " + std::to_string(size) + ", trial " + std::to_string(trial);
  const KeyedPermutation permutation = keyed_permutation(size, seed, cls, trial);
  std::vector<bool> seen(size);
  for (std::uint32_t index = 0; index < size; ++index) {
    const std::uint32_t image = permute(permutation, index);
    CHECK(image < size && !seen[image]);
    if (image < size) seen[image] = true;
    if (index < 100) CHECK(image == defined_permutation(index, size, seed, cls, trial));
  }
}

void keyed_permutation_is_a_permutation() {
  for (std::uint32_t size = 1; size <= 300; ++size) {
    for (std::uint32_t trial = 0; trial < 4; ++trial) check_permutation(size, 0, size % 7, trial);
  }
  for (const std::uint32_t size :
       {1000u, 1023u, 1024u, 1025u, 4095u, 4096u, 4097u, 50000u, 65535u, 65536u, 65537u, 100003u}) {
    check_permutation(size, 0x0123456789abcdef, 1003, 14);
  }
}

void keyed_permutation_holds_for_huge_sizes() {
  for (const std::uint32_t size : {0x7fffffffu, 0x80000000u, 0xfffe0000u, 0xfffe0001u, 0xfffe0002u, 0xffffffffu}) {
    trying = "size " + std::to_string(size);
    const KeyedPermutation permutation = keyed_permutation(size, 99, 5, 6);
    const std::uint64_t grid = std::uint64_t{permutation.left_radix} * permutation.right_radix;
    CHECK(grid >= size && grid - size < permutation.left_radix);
    std::vector<std::uint32_t> images;
    for (std::uint32_t i = 0; i < 1000; ++i) {
      const std::uint32_t index = i % 2 == 0 ? i : size - i;
      images.push_back(permute(permutation, index));
      CHECK(images.back() < size && images.back() == defined_permutation(index, size, 99, 5, 6));
    }
    std::sort(images.begin(), images.end());
    CHECK(std::adjacent_find(images.begin(), images.end()) == images.end());
  }
}

void drawn_rows_never_change() {
  // Published results depend on these numbers. A different draw needs a new name, not new numbers here.
  struct Golden {
    std::uint32_t size;
    std::uint64_t seed;
    std::uint32_t cls, trial;
    std::uint32_t images[4];
  };
  const Golden goldens[] = {
      {10u, 0x0, 0, 0, {5u, 4u, 2u, 6u}},
      {51183u, 0x0, 0, 0, {36992u, 46044u, 21544u, 26629u}},
      {51183u, 0x0, 1003, 14, {21350u, 29303u, 23423u, 36947u}},
      {51183u, 0x123456789abcdef, 3, 2, {35365u, 20486u, 45533u, 18147u}},
      {4000000000u, 0x7, 1, 1, {2794460160u, 1276328623u, 1660129627u, 3770903010u}},
  };
  for (const Golden& golden : goldens) {
    trying = "size " + std::to_string(golden.size);
    const KeyedPermutation permutation = keyed_permutation(golden.size, golden.seed, golden.cls, golden.trial);
    for (std::uint32_t i = 0; i < 4; ++i) CHECK(permute(permutation, i) == golden.images[i]);
  }
}

// Numbers the negatives by the definition in draw_core.hpp, from a row of labels, and compares every number.
void check_numbering(const std::vector<bool>& is_positive) {
  std::vector<std::uint32_t> positives;
  std::vector<std::uint32_t> negatives;
  for (std::size_t row = 0; row < is_positive.size(); ++row) {
    (is_positive[row] ? positives : negatives).push_back(static_cast<std::uint32_t>(row));
  }
  const auto rows = static_cast<std::uint32_t>(is_positive.size());
  const auto count = static_cast<std::uint32_t>(positives.size());
  const std::uint32_t n = rows - count;
  std::vector<std::uint32_t> row_of(n);
  std::vector<std::uint32_t> high;
  for (const std::uint32_t row : negatives) {
    if (row < n) {
      row_of[row] = row;
    } else {
      high.push_back(row);
    }
  }
  std::size_t used = 0;
  for (const std::uint32_t row : positives) {
    if (row < n) row_of[row] = high[used++];
  }
  CHECK(used == high.size());

  std::vector<std::uint32_t> displaced(count);
  CHECK(displaced_negatives(positives.data(), count, rows, displaced.data()) == high.size());
  CHECK(std::equal(high.begin(), high.end(), displaced.begin()));
  for (std::uint32_t number = 0; number < n; ++number) {
    CHECK(row_of_negative(positives.data(), count, displaced.data(), number) == row_of[number]);
  }
  std::sort(row_of.begin(), row_of.end());
  CHECK(row_of == negatives);
}

void negatives_are_numbered_as_defined() {
  for (std::size_t rows = 1; rows <= 10; ++rows) {
    for (std::uint32_t mask = 0; mask < 1u << rows; ++mask) {
      trying = "rows " + std::to_string(rows) + ", labels " + std::to_string(mask);
      std::vector<bool> is_positive(rows);
      for (std::size_t row = 0; row < rows; ++row) is_positive[row] = (mask >> row & 1u) != 0;
      check_numbering(is_positive);
    }
  }
  test::Random random(1);
  for (const int percent : {1, 10, 50, 90}) {
    for (int repeat = 0; repeat < 10; ++repeat) {
      std::vector<bool> is_positive(100 + random.below(2000));
      for (std::size_t row = 0; row < is_positive.size(); ++row) is_positive[row] = random.below(100) < percent;
      check_numbering(is_positive);
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// element.hpp, tree_core.hpp
// ---------------------------------------------------------------------------------------------------------------------

// The value of a small float from its fields, by the definition of IEEE 754 formats.
float from_fields(std::uint32_t bits, int exponent_bits, int mantissa_bits) {
  const std::uint32_t mantissa = bits & ((1u << mantissa_bits) - 1);
  const int biased = static_cast<int>(bits >> mantissa_bits & ((1u << exponent_bits) - 1));
  const int bias = (1 << (exponent_bits - 1)) - 1;
  double value = 0.0;
  if (biased == 2 * bias + 1) {
    value = mantissa != 0 ? std::nan("") : HUGE_VAL;
  } else if (biased == 0) {
    value = std::ldexp(static_cast<double>(mantissa), 1 - bias - mantissa_bits);
  } else {
    value = std::ldexp(static_cast<double>(mantissa + (1u << mantissa_bits)), biased - bias - mantissa_bits);
  }
  return static_cast<float>((bits >> (exponent_bits + mantissa_bits) & 1u) != 0 ? -value : value);
}

void same_float(float value, float expected) {
  if (std::isnan(expected)) {
    CHECK(std::isnan(value));
  } else {
    CHECK(bit_cast<std::uint32_t>(value) == bit_cast<std::uint32_t>(expected));
  }
}

void small_floats_convert_exactly() {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    trying = "bits " + std::to_string(bits);
    same_float(to_lane(Float16{static_cast<std::uint16_t>(bits)}), from_fields(bits, 5, 10));
    same_float(to_lane(BFloat16{static_cast<std::uint16_t>(bits)}), from_fields(bits, 8, 7));
  }
}

void lanes_keep_the_order_of_integers() {
  const std::uint64_t top = std::uint64_t{1} << 63;
  const std::uint64_t ascending[] = {0, 1, top - 1, top, top + 1, ~std::uint64_t{0} - 1, ~std::uint64_t{0}};
  for (std::size_t i = 0; i + 1 < std::size(ascending); ++i) CHECK(to_lane(ascending[i]) < to_lane(ascending[i + 1]));
  CHECK(to_lane(std::uint32_t{0xffffffff}) == 4294967295.0);
  CHECK(to_lane(std::int32_t{-2147483647 - 1}) == -2147483648.0);
  CHECK(to_lane(std::uint16_t{65535}) == 65535.0f);
  CHECK(to_lane(std::int8_t{-128}) == -128.0f);
}

// Searches the tree by the description in tree_core.hpp. Returns the number of keys that the score reaches.
// Keys fall as lanes rise, and lead back to their lanes. -0 and 0 have the same key.
template <class Lane>
void check_sort_keys(std::vector<Lane> lanes) {
  std::sort(lanes.begin(), lanes.end());
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    CHECK(lane_of_key<Lane>(sort_key(lanes[i])) == lanes[i]);
    for (std::size_t j = 0; j < lanes.size(); ++j) {
      CHECK((sort_key(lanes[i]) < sort_key(lanes[j])) == (lanes[i] > lanes[j]));
    }
  }
}

void sort_keys_have_the_order_of_scores() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  check_sort_keys<float>({0.0f, -0.0f, 1e-45f, -1e-45f, 1.0f, -1.0f, 1.5f, 3e38f, -3e38f, kInfinity, -kInfinity});
  check_sort_keys<double>({0.0, -0.0, 5e-324, -5e-324, 1.0, -1.0, 1e300, -1e300, kInfinity, -kInfinity});
  constexpr auto kLowest = std::numeric_limits<std::int64_t>::min();
  constexpr auto kHighest = std::numeric_limits<std::int64_t>::max();
  check_sort_keys<std::int64_t>({0, 1, -1, kLowest, kLowest + 1, kHighest, kHighest - 1});
}

template <class Lane>
std::int64_t walk(const std::vector<Lane>& tree, std::int64_t keys, Lane score) {
  std::vector<std::int64_t> width;  // nodes of each level, leaves first
  for (std::int64_t nodes = (keys + 15) / 16;; nodes = (nodes + 15) / 16) {
    width.push_back(nodes);
    if (nodes == 1) break;
  }
  CHECK(tree_levels(keys) == static_cast<int>(width.size()));
  std::int64_t node = 0;
  std::int64_t level_start = 0;
  for (auto level = width.rbegin(); level != width.rend(); ++level) {
    std::int64_t reached = 0;
    for (std::int64_t i = 0; i < 16; ++i) reached += tree[(level_start + node) * 16 + i] <= score;
    if (reached == 0) return 0;
    level_start += *level;
    node = node * 16 + reached - 1;
  }
  return node + 1;
}

template <class Lane>
void check_tree(std::int64_t keys) {
  trying = "keys " + std::to_string(keys);
  std::vector<Lane> ascending;
  for (std::int64_t i = 0; i < keys; ++i) ascending.push_back(static_cast<Lane>(2 * i));
  std::vector<Lane> tree(tree_nodes(keys) * kNodeKeys);
  build_tree(ascending.data(), keys, tree.data());
  const std::int64_t step = keys < 1000 ? 1 : keys / 500;
  for (std::int64_t score = -1; score <= 2 * keys; score += step) {
    const auto reached =
        std::upper_bound(ascending.begin(), ascending.end(), static_cast<Lane>(score)) - ascending.begin();
    CHECK(walk(tree, keys, static_cast<Lane>(score)) == reached);
  }
}

void tree_finds_what_binary_search_finds() {
  CHECK(tree_levels(0) == 0 && tree_nodes(0) == 0);
  for (std::int64_t keys = 1; keys <= 600; ++keys) check_tree<float>(keys);
  for (const std::int64_t keys : {4095, 4096, 4097, 65536, 65537}) {
    check_tree<double>(keys);
    check_tree<std::int64_t>(keys);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// ap_core.hpp, sap_core.hpp
// ---------------------------------------------------------------------------------------------------------------------

// One class: scores, labels, and the rank table by counting.
struct Column {
  std::vector<int> scores;
  std::vector<bool> labels;
  std::vector<std::int64_t> tp, fp, tied;
  std::int64_t positives = 0;
  std::int64_t negatives = 0;

  Column(std::vector<int> column_scores, std::vector<bool> column_labels)
      : scores(std::move(column_scores)), labels(std::move(column_labels)) {
    std::vector<int> thresholds;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      ++(labels[i] ? positives : negatives);
      if (labels[i]) thresholds.push_back(scores[i]);
    }
    std::sort(thresholds.rbegin(), thresholds.rend());
    thresholds.erase(std::unique(thresholds.begin(), thresholds.end()), thresholds.end());
    for (const int threshold : thresholds) {
      std::int64_t reach[2] = {};
      std::int64_t equal = 0;
      for (std::size_t i = 0; i < scores.size(); ++i) {
        if (scores[i] >= threshold) ++reach[labels[i] ? 1 : 0];
        if (scores[i] == threshold && !labels[i]) ++equal;
      }
      tp.push_back(reach[1]);
      fp.push_back(reach[0]);
      tied.push_back(equal);
    }
  }
  std::int64_t count() const { return static_cast<std::int64_t>(tp.size()); }
};

// The definition of AP: the mean of the precision at the score of each positive. Equal scores count together.
long double textbook_average_precision(const Column& column, const std::vector<bool>& used) {
  long double sum = 0;
  for (std::size_t i = 0; i < column.scores.size(); ++i) {
    if (!column.labels[i]) continue;
    std::int64_t hits = 0;
    std::int64_t above = 0;
    for (std::size_t j = 0; j < column.scores.size(); ++j) {
      if (!used[j] || column.scores[j] < column.scores[i]) continue;
      ++above;
      hits += column.labels[j];
    }
    sum += static_cast<long double>(hits) / static_cast<long double>(above);
  }
  return sum / static_cast<long double>(column.positives);
}

long double textbook_roc_auc(const Column& column) {
  long double wins = 0;
  for (std::size_t i = 0; i < column.scores.size(); ++i) {
    for (std::size_t j = 0; j < column.scores.size(); ++j) {
      if (!column.labels[i] || column.labels[j]) continue;
      wins += column.scores[i] > column.scores[j] ? 1.0L : column.scores[i] == column.scores[j] ? 0.5L : 0.0L;
    }
  }
  return wins / static_cast<long double>(column.positives * column.negatives);
}

// The mean of AP over every choice of `draws` negatives.
long double enumerated_sap(const Column& column) {
  std::vector<std::size_t> negative_rows;
  for (std::size_t i = 0; i < column.labels.size(); ++i) {
    if (!column.labels[i]) negative_rows.push_back(i);
  }
  const auto draws = static_cast<int>(std::min(column.positives, column.negatives));
  long double sum = 0;
  std::int64_t choices = 0;
  for (std::uint32_t mask = 0; mask < 1u << negative_rows.size(); ++mask) {
    if (__builtin_popcount(mask) != draws) continue;
    std::vector<bool> used = column.labels;
    for (std::size_t i = 0; i < negative_rows.size(); ++i) used[negative_rows[i]] = (mask >> i & 1u) != 0;
    sum += textbook_average_precision(column, used);
    ++choices;
  }
  return sum / static_cast<long double>(choices);
}

void hand_cases_come_out() {
  // N P N N P N, best first.
  const Column six({6, 5, 4, 3, 2, 1}, {false, true, false, false, true, false});
  CHECK(close(average_precision(six.tp.data(), six.fp.data(), six.count()), 0.45L, 1e-15L));
  CHECK(roc_auc(six.tp.data(), six.fp.data(), six.tied.data(), six.count(), six.negatives) == 0.5);
  CHECK(close(expected_sampled_average_precision(six.tp.data(), six.fp.data(), six.count(), six.negatives), 2.0L / 3,
              1e-15L));
  // P N P: precision 1 and 2/3; at even prevalence 1 and 1/2.
  const Column three({9, 8, 7}, {true, false, true});
  CHECK(close(average_precision(three.tp.data(), three.fp.data(), three.count()), 5.0L / 6, 1e-15L));
  CHECK(calibrated_average_precision(three.tp.data(), three.fp.data(), three.count(), three.negatives, 0.5) == 0.75);
  // All equal: AP is the prevalence, ROC-AUC one half.
  const Column tied({4, 4, 4, 4}, {true, false, false, false});
  CHECK(average_precision(tied.tp.data(), tied.fp.data(), tied.count()) == 0.25);
  CHECK(roc_auc(tied.tp.data(), tied.fp.data(), tied.tied.data(), tied.count(), tied.negatives) == 0.5);
}

void undefined_is_nan() {
  CHECK(std::isnan(average_precision(nullptr, nullptr, 0)));
  CHECK(std::isnan(calibrated_average_precision(nullptr, nullptr, 0, 5, 0.5)));
  CHECK(std::isnan(roc_auc(nullptr, nullptr, nullptr, 0, 5)));
  CHECK(std::isnan(expected_sampled_average_precision(nullptr, nullptr, 0, 5)));
  double trials[kSapLanes] = {};
  sampled_average_precisions(nullptr, nullptr, 0, trials);
  CHECK(std::all_of(trials, trials + kSapLanes, [](double ap) { return std::isnan(ap); }));
  CHECK(std::isnan(sampled_average_precision_chance(0, 5)));
  const Column all({3, 2, 2}, {true, true, true});
  CHECK(average_precision(all.tp.data(), all.fp.data(), all.count()) == 1.0);
  CHECK(calibrated_average_precision(all.tp.data(), all.fp.data(), all.count(), 0, 0.5) == 1.0);
  CHECK(expected_sampled_average_precision(all.tp.data(), all.fp.data(), all.count(), 0) == 1.0);
  CHECK(sampled_average_precision_chance(3, 0) == 1.0);
  CHECK(std::isnan(roc_auc(all.tp.data(), all.fp.data(), all.tied.data(), all.count(), 0)));
}

// Trials with every number of draws: the definition on the drawn rows, and AP itself if all negatives are drawn.
void check_trials(const Column& column, test::Random& random, double average_precision_of_all) {
  std::vector<std::int32_t> drawn((column.tp.size() + 1) * kSapLanes);
  std::vector<bool> used[kSapLanes];
  for (std::size_t lane = 0; lane < kSapLanes; ++lane) {
    used[lane] = column.labels;
    for (std::size_t i = 0; i < column.labels.size(); ++i) {
      if (column.labels[i] || (lane != 0 && random.below(2) == 0)) continue;
      used[lane][i] = true;
      std::vector<int> above;  // thresholds that the score does not reach
      for (std::size_t j = 0; j < column.labels.size(); ++j) {
        if (column.labels[j] && column.scores[j] > column.scores[i]) above.push_back(column.scores[j]);
      }
      std::sort(above.begin(), above.end());
      const auto gap = static_cast<std::size_t>(std::unique(above.begin(), above.end()) - above.begin());
      ++drawn[gap * kSapLanes + lane];
    }
  }
  double trials[kSapLanes] = {};
  sampled_average_precisions(column.tp.data(), drawn.data(), column.count(), trials);
  CHECK(trials[0] == average_precision_of_all);
  for (std::size_t lane = 0; lane < kSapLanes; ++lane) {
    CHECK(close(trials[lane], textbook_average_precision(column, used[lane]), 1e-15L));
  }
}

void metrics_equal_their_definitions() {
  test::Random random(2);
  for (int repeat = 0; repeat < 400; ++repeat) {
    trying = "repeat " + std::to_string(repeat);
    const auto rows = static_cast<std::size_t>(1 + random.below(10));
    const int levels = 1 + random.below(12);
    std::vector<int> scores(rows);
    std::vector<bool> labels(rows);
    for (std::size_t i = 0; i < rows; ++i) {
      scores[i] = random.below(levels);
      labels[i] = random.below(3) == 0;
    }
    labels[random.below(static_cast<int>(rows))] = true;
    const Column column(scores, labels);
    const std::int64_t* tp = column.tp.data();
    const std::int64_t* fp = column.fp.data();
    const double ap = average_precision(tp, fp, column.count());
    CHECK(close(ap, textbook_average_precision(column, std::vector<bool>(rows, true)), 1e-15L));
    CHECK(close(expected_sampled_average_precision(tp, fp, column.count(), column.negatives), enumerated_sap(column),
                1e-14L));
    if (column.negatives == 0) continue;
    CHECK(
        close(roc_auc(tp, fp, column.tied.data(), column.count(), column.negatives), textbook_roc_auc(column), 1e-15L));
    const double prevalence = static_cast<double>(column.positives) / static_cast<double>(rows);
    CHECK(close(calibrated_average_precision(tp, fp, column.count(), column.negatives, prevalence), ap, 1e-14L));
    check_trials(column, random, ap);
  }
}

void chance_is_the_mean_over_all_orders() {
  for (int rows = 1; rows <= 12; ++rows) {
    for (int positives = 1; positives <= rows; ++positives) {
      const int negatives = rows - positives;
      if (negatives > positives) continue;  // the chance level draws as many negatives as positives, or all
      trying = std::to_string(positives) + " positives, " + std::to_string(negatives) + " negatives";
      long double sum = 0;
      std::int64_t orders = 0;
      for (std::uint32_t mask = 0; mask < 1u << rows; ++mask) {
        if (__builtin_popcount(mask) != positives) continue;
        int hits = 0;
        for (int position = 0; position < rows; ++position) {
          if ((mask >> position & 1u) == 0) continue;
          ++hits;
          sum += static_cast<long double>(hits) / (position + 1) / positives;
        }
        ++orders;
      }
      CHECK(close(sampled_average_precision_chance(positives, negatives), sum / static_cast<long double>(orders),
                  1e-14L));
    }
  }
  CHECK(sampled_average_precision_chance(7, 100) == sampled_average_precision_chance(7, 7));
}

void harmonic_numbers_equal_their_sums() {
  CHECK(harmonic_number(0) == 0.0);
  long double sum = 0;
  for (std::int64_t m = 1; m <= 100000; ++m) {
    sum += 1.0L / static_cast<long double>(m);
    if (m > 200 && m % 997 != 0) continue;
    trying = "m " + std::to_string(m);
    CHECK(close(harmonic_number(m), sum, 5e-16L));
  }
  // For m far too large to sum, a double shows only ln m, Euler's constant and 1/(2m).
  for (int bits = 30; bits < 63; ++bits) {
    trying = "m 2^" + std::to_string(bits);
    const std::int64_t m = (std::int64_t{1} << bits) / 5 * 4;
    const long double expected =
        std::log(static_cast<long double>(m)) + 0.577215664901532860606512L + 0.5L / static_cast<long double>(m);
    CHECK(close(harmonic_number(m), expected, 5e-16L));
  }
}

// Binomial coefficients, exact in 64 bits for n <= 60.
std::uint64_t choose(std::int64_t n, std::int64_t k) {
  if (k < 0 || k > n) return 0;
  static std::vector<std::vector<std::uint64_t>> rows{{1}};
  while (static_cast<std::int64_t>(rows.size()) <= n) {
    std::vector<std::uint64_t> next(rows.size() + 1, 1);
    for (std::size_t i = 1; i + 1 < next.size(); ++i) next[i] = rows.back()[i - 1] + rows.back()[i];
    rows.push_back(next);
  }
  return rows[n][k];
}

struct Drawing {
  std::int64_t tp, negatives, marked, draws;
};

// The expected precision, of one call and of calls that share the levels of a class: their bits must be equal.
double checked_precision(const Drawing& drawing) {
  trying = "tp " + std::to_string(drawing.tp) + ", n " + std::to_string(drawing.negatives) + ", marked " +
           std::to_string(drawing.marked) + ", draws " + std::to_string(drawing.draws);
  const double value = expected_precision(drawing.tp, drawing.negatives, drawing.marked, drawing.draws);
  ExpectedPrecision shared(drawing.negatives, drawing.draws);
  CHECK(shared(drawing.tp + 1000, drawing.marked) <= 1.0);  // calculates few levels, and the next call the others
  CHECK(shared(drawing.tp, drawing.marked) == value);
  CHECK(shared(drawing.tp, drawing.marked) == value);
  CHECK(0.0 < value && value <= 1.0);
  return value;
}

bool relatively_close(double value, long double expected, long double tolerance) {
  return std::fabs(static_cast<long double>(value) / expected - 1) <= tolerance;
}

void expected_precision_equals_enumeration() {
  for (std::int64_t negatives = 0; negatives <= 30; ++negatives) {
    for (std::int64_t marked = 0; marked <= negatives; ++marked) {
      for (std::int64_t draws = 0; draws <= negatives; ++draws) {
        for (const std::int64_t tp : {1, 2, 7, 30, 1000000}) {
          long double sum = 0;
          for (std::int64_t h = 0; h <= draws; ++h) {
            const long double ways = static_cast<long double>(choose(marked, h)) *
                                     static_cast<long double>(choose(negatives - marked, draws - h));
            sum += ways * static_cast<long double>(tp) / static_cast<long double>(tp + h);
          }
          CHECK(relatively_close(checked_precision({tp, negatives, marked, draws}),
                                 sum / static_cast<long double>(choose(negatives, draws)), 1e-14L));
        }
      }
    }
  }
}

// E[tp / (tp + H)] as the sum of all terms from the smallest H up, in long double.
long double summed_expectation(const Drawing& drawing) {
  const std::int64_t draws = drawing.draws;
  const std::int64_t marked = drawing.marked;
  const std::int64_t neither = drawing.negatives - marked - draws;
  long double weight = 1;
  long double total = 0;
  long double sum = 0;
  for (std::int64_t h = std::max<std::int64_t>(0, -neither); h <= std::min(draws, marked); ++h) {
    total += weight;
    sum += weight * static_cast<long double>(drawing.tp) / static_cast<long double>(drawing.tp + h);
    weight *= static_cast<long double>(marked - h) * static_cast<long double>(draws - h) /
              (static_cast<long double>(h + 1) * static_cast<long double>(neither + h + 1));
    if (weight > 0x1p500L) {
      weight *= 0x1p-500L;
      total *= 0x1p-500L;
      sum *= 0x1p-500L;
    }
  }
  return sum / total;
}

void expected_precision_equals_the_sum_over_terms() {
  // Small and large shares, few levels and many. The last three take the most levels that there are.
  const Drawing drawings[] = {{1, 51000, 20, 200},
                              {250, 51000, 25000, 517},
                              {517, 50722, 50722, 517},
                              {7, 51232, 51000, 7},
                              {300, 60000, 1, 44000},
                              {9000, 50000, 49999, 5000},
                              {1, 1000000, 999000, 900},
                              {44000, 60000, 30000, 44000},
                              {1, 16820000, 8400000, 8300000},
                              {12345678, 40000000, 10000000, 20000000},
                              {1, 10000000000000, 30000000, 400000000000},
                              {1, std::int64_t{1} << 52, 19 << 12, std::int64_t{1} << 40},
                              {1, std::int64_t{1} << 52, 18 << 12, std::int64_t{1} << 40},
                              {1, 1000000000, 20000, 1000000}};
  for (const Drawing& drawing : drawings) {
    CHECK(relatively_close(checked_precision(drawing), summed_expectation(drawing), 1e-14L));
  }
  // Shares near 0 and 1, where the variance is small, and everything between.
  test::Random random(13);
  const auto part_of = [&](std::int64_t whole) {
    const auto some = static_cast<std::int64_t>(random.bits() % static_cast<std::uint64_t>(whole + 1));
    const std::int64_t few = std::min<std::int64_t>(whole, random.below(1 << random.below(8)));
    const std::int64_t choices[] = {some, some >> random.below(20), few, whole - few};
    return choices[random.below(4)];
  };
  for (int repeat = 0; repeat < 3000; ++repeat) {
    Drawing drawing;
    drawing.negatives = 1 + (random.below(1 << 18) >> random.below(16));
    drawing.marked = part_of(drawing.negatives);
    drawing.draws = part_of(drawing.negatives);
    drawing.tp = 1 + part_of(std::int64_t{1} << random.below(40));
    CHECK(relatively_close(checked_precision(drawing), summed_expectation(drawing), 1e-14L));
  }
}

// E[tp / (tp + H)] by central moments: with x = tp + mean and p = tp / x it is p (1 + v / x^2 - m3 / x^3 + m4 / x^4 -
// ...). Since v <= mean <= x, the term of m5 is below 10 v^-3, that of m6 below 15 v^-3, and m4 is 3 v^2 within a few
// v: the terms left out are below 2^-80 of p for v > 2^28.
long double expectation_by_moments(const Drawing& drawing) {
  const auto n = static_cast<long double>(drawing.negatives);
  const auto m = static_cast<long double>(drawing.marked);
  const auto d = static_cast<long double>(drawing.draws);
  const auto tp = static_cast<long double>(drawing.tp);
  const long double mean = m / n * d;
  const long double variance = mean * ((n - m) / n) * ((n - d) / (n - 1));
  CHECK(variance > 0x1p28L);
  const long double x = tp + mean;
  const long double spread = variance / (x * x);
  const long double skew = spread * ((n - 2 * m) / n) * ((n - 2 * d) / (n - 2)) / x;
  return tp / x * (1 + (spread - skew + 3 * spread * spread));
}

void expected_precision_holds_for_huge_classes() {
  test::Random random(14);
  for (int repeat = 0; repeat < 3000; ++repeat) {
    Drawing drawing;
    drawing.negatives = (std::int64_t{1} << (45 + random.below(8))) - 1 - random.below(1000);
    const auto share_of = [&](std::int64_t whole) {
      const std::int64_t share = (whole >> (1 + random.below(8))) - random.below(1000);
      return random.below(2) == 0 ? share : whole - share;
    };
    drawing.marked = share_of(drawing.negatives);
    drawing.draws = share_of(drawing.negatives);
    drawing.tp = 1 + (drawing.draws >> random.below(60));
    CHECK(relatively_close(checked_precision(drawing), expectation_by_moments(drawing), 6e-15L));
  }
}

void expected_precision_is_exact_without_chance() {
  constexpr std::int64_t kMost = std::int64_t{1} << 52;
  for (const std::int64_t negatives : {std::int64_t{1}, std::int64_t{2}, std::int64_t{51239}, kMost - 1, kMost}) {
    for (const std::int64_t some : {std::int64_t{0}, std::int64_t{1}, negatives / 3, negatives - 1, negatives}) {
      for (const std::int64_t tp : {std::int64_t{1}, std::int64_t{7}, std::int64_t{51239}, kMost - 1}) {
        const double precision = static_cast<double>(tp) / static_cast<double>(tp + some);
        CHECK(checked_precision({tp, negatives, some, negatives}) == precision);  // the bits of AP
        CHECK(relatively_close(checked_precision({tp, negatives, negatives, some}), precision, 1e-15L));
        CHECK(checked_precision({tp, negatives, 0, some}) == 1.0);
        CHECK(checked_precision({tp, negatives, some, 0}) == 1.0);
      }
    }
  }
}

// A marked negative more lowers the precision, a hit more raises it, and draws and marks play the same part.
void expected_precision_is_monotone() {
  test::Random random(15);
  for (int repeat = 0; repeat < 2000; ++repeat) {
    const std::int64_t negatives = 2 + (random.below(1 << 30) >> random.below(30));
    const auto below = [&](std::int64_t bound) { return random.below(static_cast<int>(bound)); };
    const Drawing drawing{1 + (random.below(1 << 30) >> random.below(30)), negatives, 1 + below(negatives - 1),
                          1 + below(negatives - 1)};
    const double value = checked_precision(drawing);
    constexpr double kRounded = 1 + 0x1p-46;
    CHECK(checked_precision({drawing.tp, negatives, drawing.marked + 1, drawing.draws}) <= value * kRounded);
    CHECK(checked_precision({drawing.tp + 1, negatives, drawing.marked, drawing.draws}) * kRounded >= value);
    CHECK(relatively_close(checked_precision({drawing.tp, negatives, drawing.draws, drawing.marked}), value, 1e-14L));
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// tie_core.hpp, exact_sum_core.hpp
// ---------------------------------------------------------------------------------------------------------------------

long double defined_sum_of_precisions(std::int64_t hits, std::int64_t count, std::int64_t fp) {
  long double sum = 0;
  for (std::int64_t h = hits + count; h > hits; --h)
    sum += static_cast<long double>(h) / static_cast<long double>(h + fp);
  return sum;
}

void sums_of_precisions_equal_their_terms() {
  for (const std::int64_t hits : {0, 1, 1000, 5'000'000}) {
    for (const std::int64_t count : {1, 2, 1023, 100'000, 3'000'000}) {
      for (const std::int64_t fp :
           {std::int64_t{0}, std::int64_t{1}, std::int64_t{700}, std::int64_t{2'000'000}, std::int64_t{1} << 40}) {
        trying =
            std::to_string(hits) + " hits, " + std::to_string(count) + " more, " + std::to_string(fp) + " negatives";
        const long double expected = defined_sum_of_precisions(hits, count, fp);
        CHECK(std::fabs(sum_of_precisions(hits, count, fp) - expected) <= 1e-15L * static_cast<long double>(count));
      }
    }
  }
}

// AP with the tied negatives of each threshold before or after its positives.
long double ordered_ap(const std::vector<std::int64_t>& tp, const std::vector<std::int64_t>& fp,
                       const std::vector<std::int64_t>& tied, bool negatives_first) {
  long double sum = 0;
  for (std::size_t k = 0; k < tp.size(); ++k) {
    const std::int64_t previous = k == 0 ? 0 : tp[k - 1];
    sum += defined_sum_of_precisions(previous, tp[k] - previous, negatives_first ? fp[k] : fp[k] - tied[k]);
  }
  return sum / static_cast<long double>(tp.back());
}

void tie_intervals_equal_the_ap_of_both_orders() {
  test::Random random(700);
  for (int repeat = 0; repeat < 300; ++repeat) {
    const int longest = repeat % 3 == 0 ? 5 : repeat % 3 == 1 ? 3000 : 200'000;  // around kLongestRun, and far above it
    std::vector<std::int64_t> tp, fp, tied;
    std::int64_t hits = 0;
    std::int64_t negatives = 0;
    for (int k = random.below(6); k >= 0; --k) {
      tied.push_back(random.below(3) == 0 ? 0 : random.below(longest));
      tp.push_back(hits += random.below(5) == 0 ? 0 : 1 + random.below(longest));
      fp.push_back(negatives += tied.back() + random.below(longest));
    }
    const auto count = static_cast<std::int64_t>(tp.size());
    const double ap = average_precision(tp.data(), fp.data(), count);
    const TieInterval found = tie_interval(tp.data(), fp.data(), tied.data(), count, ap);
    if (hits == 0) {
      CHECK(std::isnan(found.lower) && std::isnan(found.upper));
      continue;
    }
    CHECK(close(found.lower, std::min<long double>(ap, ordered_ap(tp, fp, tied, true)), 1e-13L));
    CHECK(close(found.upper, std::max<long double>(ap, ordered_ap(tp, fp, tied, false)), 1e-13L));
    CHECK(found.lower <= ap && ap <= found.upper && found.upper <= 1.0);
  }
}

void exact_sums_are_rounded_once() {
  // Multiples of 2^-900, which a sum of doubles would lose: everything but the last value cancels.
  test::Random random(701);
  for (int repeat = 0; repeat < 200; ++repeat) {
    std::vector<double> values;
    for (int i = random.below(60); i >= 0; --i) {
      values.push_back(std::ldexp(static_cast<double>(random.bits() >> 11), random.below(1700) - 900));
      values.push_back(-values.back());
    }
    const double last = std::ldexp(1.0 + random.below(1000), -900);
    values.push_back(last);
    for (std::size_t i = values.size() - 1; i > 0; --i)
      std::swap(values[i], values[random.below(static_cast<int>(i + 1))]);
    ExactSum sum;
    for (const double value : values) sum.add(value);
    CHECK(sum.rounded() == last);
  }
  // Half of a last digit: to even, unless a smaller value decides.
  for (const double below : {0.0, 0x1p-200, -0x1p-200}) {
    ExactSum sum;
    for (const double value : {1.0, 0x1p-53, below}) sum.add(value);
    CHECK(sum.rounded() == (below > 0.0 ? 1.0 + 0x1p-52 : 1.0));
  }
  ExactSum many;  // more partial sums than any other input has
  for (int exponent = -1074; exponent < 1000; exponent += 2) many.add(std::ldexp(1.0, exponent));
  CHECK(many.rounded() == std::ldexp(4.0 / 3.0, 998));  // 1.0101..., rounded
  ExactSum infinite;
  for (int i = 0; i < 5000; ++i) infinite.add(HUGE_VAL);
  CHECK(infinite.rounded() == HUGE_VAL);
}

// The bits are part of the contract, as reports of different machines must agree.
void exponentials_and_logarithms_are_those_of_the_core() {
  CHECK(exp_of_negative(0.0) == 1.0 && log_of_positive(1.0) == 0.0);
  CHECK(exp_of_negative(-1.0) == 0x1.78b56362cef38p-2);
  CHECK(log_of_positive(2.0) == 0x1.62e42fefa39efp-1);
  test::Random random(5);
  for (int i = 0; i < 20'000; ++i) {
    const double x = -700.0 * static_cast<double>(random.bits() >> 11) * 0x1p-53 / (1 + i % 200);
    trying = "x " + std::to_string(x);
    const double e = exp_of_negative(x);
    CHECK(std::abs(e - std::exp(x)) <= 4e-16 * std::exp(x));
    CHECK(std::abs(log_of_positive(e) - std::log(e)) <= 4e-16 * std::abs(std::log(e)) + 1e-17);
  }
}

void weights_are_taken_apart_exactly() {
  const double smallest = std::numeric_limits<double>::denorm_min();
  const double largest = std::numeric_limits<double>::max();
  for (const double weight : {0.0, smallest, 3 * smallest, std::numeric_limits<double>::min(), 0.75, 1.0, largest}) {
    trying = "weight " + std::to_string(weight);
    const SplitWeight split = split_weight(weight);
    CHECK(std::ldexp(static_cast<double>(split.mantissa), split.exponent) == weight);
    CHECK(split_weight(-weight).mantissa == split.mantissa && split_weight(-weight).exponent == split.exponent);
    if (weight == 0.0) continue;
    int exponent = 0;
    std::frexp(weight, &exponent);
    CHECK(exponent_of(weight) == exponent);
    CHECK(to_double(scaled_weight(weight, exponent)) == std::ldexp(weight, kLargestBits - exponent));
  }
  for (const double weight : {1.0, smallest, largest}) {
    CHECK(scaled_weight(-0.0, exponent_of(weight)) == Wide{0});
  }
  CHECK(exponent_of(-0.0) == exponent_of(0.0) && scaled_weight(-0.0, exponent_of(-0.0)) == Wide{0});
  CHECK(scaled_weight(smallest, exponent_of(largest)) == Wide{0});
}

// label_of, to_lane and canonical comparisons rely on this: minus zero equals zero, and both differ from the
// smallest number of each sign.
template <class T>
void check_zeros(std::uint16_t minus_zero) {
  CHECK(to_lane(T{minus_zero}) == to_lane(T{0}) && std::signbit(to_lane(T{minus_zero})));
  CHECK(label_of(T{minus_zero}) == 0);
  CHECK(to_lane(T{1}) > 0 && to_lane(T{static_cast<std::uint16_t>(minus_zero | 1u)}) < 0);
  CHECK(label_of(T{1}) == kBadLabel && label_of(T{static_cast<std::uint16_t>(minus_zero | 1u)}) == kBadLabel);
}

void minus_zero_is_a_zero() {
  check_zeros<Float16>(0x8000);
  check_zeros<BFloat16>(0x8000);
  CHECK(label_of(-0.0f) == 0 && label_of(-0.0) == 0 && label_of(std::numeric_limits<double>::denorm_min()) != 0);
}

}  // namespace
}  // namespace vltr

int main() {
  using namespace vltr;
  return test::run_tests({
      {"philox_gives_the_published_answers", philox_gives_the_published_answers},
      {"hash_gives_the_published_answers", hash_gives_the_published_answers},
      {"sort_keys_have_the_order_of_scores", sort_keys_have_the_order_of_scores},
      {"keyed_permutation_is_a_permutation", keyed_permutation_is_a_permutation},
      {"keyed_permutation_holds_for_huge_sizes", keyed_permutation_holds_for_huge_sizes},
      {"drawn_rows_never_change", drawn_rows_never_change},
      {"negatives_are_numbered_as_defined", negatives_are_numbered_as_defined},
      {"small_floats_convert_exactly", small_floats_convert_exactly},
      {"lanes_keep_the_order_of_integers", lanes_keep_the_order_of_integers},
      {"tree_finds_what_binary_search_finds", tree_finds_what_binary_search_finds},
      {"hand_cases_come_out", hand_cases_come_out},
      {"undefined_is_nan", undefined_is_nan},
      {"metrics_equal_their_definitions", metrics_equal_their_definitions},
      {"chance_is_the_mean_over_all_orders", chance_is_the_mean_over_all_orders},
      {"harmonic_numbers_equal_their_sums", harmonic_numbers_equal_their_sums},
      {"expected_precision_equals_enumeration", expected_precision_equals_enumeration},
      {"expected_precision_equals_the_sum_over_terms", expected_precision_equals_the_sum_over_terms},
      {"expected_precision_holds_for_huge_classes", expected_precision_holds_for_huge_classes},
      {"expected_precision_is_exact_without_chance", expected_precision_is_exact_without_chance},
      {"expected_precision_is_monotone", expected_precision_is_monotone},
      {"sums_of_precisions_equal_their_terms", sums_of_precisions_equal_their_terms},
      {"tie_intervals_equal_the_ap_of_both_orders", tie_intervals_equal_the_ap_of_both_orders},
      {"exact_sums_are_rounded_once", exact_sums_are_rounded_once},
      {"exponentials_and_logarithms_are_those_of_the_core", exponentials_and_logarithms_are_those_of_the_core},
      {"weights_are_taken_apart_exactly", weights_are_taken_apart_exactly},
      {"minus_zero_is_a_zero", minus_zero_is_a_zero},
  });
}
