// The evaluation kernels against their CPU twins, which test_cpu.cpp compares with the definitions: the same
// integers, and so the same bits. Runs on the emulator, or on a GPU if built for one and one is present. Small
// enough for ThreadSanitizer.
#include <cstring>
#include <numeric>

#include "core/ap_core.hpp"
#include "cpu/count_reached.hpp"
#include "cpu/rank_scan.hpp"
#include "cpu/weighted_average_precision.hpp"
#include "cuda/copy_rows.hpp"
#include "cuda/count_reached.hpp"
#include "cuda/rank_scan.hpp"
#include "cuda/row_effects.hpp"
#include "cuda/sort.hpp"
#include "cuda/thresholds.hpp"
#include "cuda/weighted_average_precision.hpp"
#include "tests/check.hpp"

namespace vltr {
namespace {

using test::Random;
using test::trying;

const cuda::Stream kStream{0, 2};
const cpu::Runner kAlone{};

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

// A matrix in CPU and device memory: `shards` row shards of equal layout.
class TwinMatrix {
 public:
  TwinMatrix(DType dtype, const std::vector<std::byte>& elements, std::int64_t rows, std::int64_t cols,
             std::int64_t size, bool by_column, std::int64_t shards) {
    host.dtype = device.dtype = dtype;
    host.cols = device.cols = cols;
    for (std::int64_t i = 0; i < shards; ++i) {
      const std::int64_t first = rows * i / shards;
      const std::int64_t count = rows * (i + 1) / shards - first;
      std::vector<std::byte> part(count * cols * size);
      const std::int64_t row_stride = by_column ? size : cols * size;
      const std::int64_t col_stride = by_column ? count * size : size;
      for (std::int64_t row = 0; row < count; ++row) {
        for (std::int64_t col = 0; col < cols; ++col) {
          std::memcpy(part.data() + row * row_stride + col * col_stride,
                      elements.data() + ((first + row) * cols + col) * size, static_cast<std::size_t>(size));
        }
      }
      host_parts_.push_back(part);
      device_parts_.emplace_back(kStream, part);
      host.append(host_parts_.back().data(), count, row_stride, col_stride);
      device.append(device_parts_.back().data(), count, row_stride, col_stride);
    }
  }
  Matrix host;
  Matrix device;

 private:
  std::vector<std::vector<std::byte>> host_parts_;
  std::vector<cuda::DeviceArray<std::byte>> device_parts_;
};

// An element of some type from a small number; as bits where the type has no constructor for it.
template <class T>
T element_of(int value) {
  if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>) {
    return T{static_cast<std::uint16_t>(0x3800 + value)};
  } else {
    return static_cast<T>(value);
  }
}

template <class T>
DType code_of() {
  for (int code = 0;; ++code) {
    const bool found = with_element_type(static_cast<DType>(code),
                                         [](auto tag) { return std::is_same_v<typename decltype(tag)::type, T>; });
    if (found) return static_cast<DType>(code);
  }
}

template <class T>
TwinMatrix random_matrix(Random& random, std::int64_t rows, std::int64_t cols, int levels, bool by_column,
                         std::int64_t shards) {
  std::vector<std::byte> elements(rows * cols * sizeof(T));
  for (std::int64_t i = 0; i < rows * cols; ++i) {
    const T element = element_of<T>(random.below(levels));
    std::memcpy(elements.data() + i * static_cast<std::int64_t>(sizeof(T)), &element, sizeof(T));
  }
  return TwinMatrix(code_of<T>(), elements, rows, cols, sizeof(T), by_column, shards);
}

// `common` percent of the rows are positives of the even classes, a tenth of that of the odd ones. The first
// class has no positives.
TwinMatrix random_labels(Random& random, std::int64_t rows, std::int64_t cols, int common, bool by_column) {
  std::vector<std::byte> elements(rows * cols);
  for (std::int64_t i = 0; i < rows * cols; ++i) {
    const std::int64_t col = i % cols;
    const int chance = col == 0 ? 0 : 10 * common / (col % 2 == 0 ? 1 : 10);
    elements[i] = std::byte{random.below(1000) < chance};
  }
  return TwinMatrix(DType::kBool, elements, rows, cols, 1, by_column, 1);
}

void check_same_table(const RankTable& expected, const RankTable& table) {
  CHECK(table.offset == expected.offset);
  CHECK(table.thresholds == expected.thresholds);
  CHECK(table.tp == expected.tp && table.fp == expected.fp && table.tied == expected.tied);
}

void check_same_positives(const cpu::Positives& expected, const cuda::Positives& positives) {
  CHECK(positives.offset.to_host() == Array<std::int64_t>(expected.offset.begin(), expected.offset.end()));
  CHECK(positives.row.to_host() == Array<std::uint32_t>(expected.rows.begin(), expected.rows.end()));
}

void check_rank_scan(const TwinMatrix& scores, const TwinMatrix& labels, int trials) {
  const cpu::OwnedPositives positives = cpu::find_positives(labels.host, kAlone);
  const cuda::Positives device_positives = cuda::find_positives(labels.device, 0, {}, kStream);
  check_same_positives(positives, device_positives);
  RankScanRequest request;
  request.trials = trials;
  request.seed = 5;
  request.ranks = true;
  const cpu::RankScanResult expected = cpu::rank_scan(scores.host, positives, request, kAlone);
  const cuda::RankScanResult result =
      cuda::rank_scan(scores.device, device_positives, nullptr, {trials, 5, true, nullptr}, kStream);
  check_same_table(expected.table, cuda::to_host(result.table));
  CHECK(same_bits(result.trials, expected.trials));
  CHECK(result.ranks == expected.ranks);

  std::vector<double> average;
  for (std::size_t c = 0; c + 1 < expected.table.offset.size(); ++c) {
    const std::int64_t first = expected.table.offset[c];
    average.push_back(average_precision(expected.table.tp.data() + first, expected.table.fp.data() + first,
                                        expected.table.offset[c + 1] - first));
  }
  CHECK(same_bits(cuda::average_precision(result.table), average));
}

// Sorting

template <class Key>
void check_sort(Random& random, const std::vector<std::int64_t>& sizes) {
  std::vector<std::int64_t> offset{0};
  std::vector<std::uint32_t> segment;
  std::vector<Key> keys;
  std::int64_t longest = 0;
  for (std::size_t s = 0; s < sizes.size(); ++s) {
    for (std::int64_t i = 0; i < sizes[s]; ++i) {
      keys.push_back(static_cast<Key>(random.below(1000)));
      segment.push_back(static_cast<std::uint32_t>(s));
    }
    offset.push_back(static_cast<std::int64_t>(keys.size()));
    longest = std::max(longest, sizes[s]);
  }
  cuda::DeviceArray<Key> sorted(kStream, keys);
  cuda::sort_within_segments(sorted, cuda::DeviceArray<std::uint32_t>(kStream, segment),
                             cuda::DeviceArray<std::int64_t>(kStream, offset), longest);
  for (std::size_t s = 0; s < sizes.size(); ++s) {
    std::sort(keys.begin() + offset[s], keys.begin() + offset[s + 1]);
  }
  CHECK(sorted.to_host() == keys);
}

void segments_are_sorted() {
  Random random(1);
  for (const std::vector<std::int64_t>& sizes : std::vector<std::vector<std::int64_t>>{
           {}, {1}, {0, 3, 0, 0, 5}, {1024}, {1023, 2}, {1000, 48, 1000, 1}, {1, 3000, 7, 1100}, {5000}}) {
    trying = std::to_string(sizes.size()) + " segments";
    check_sort<float>(random, sizes);
    check_sort<double>(random, sizes);
    check_sort<std::int64_t>(random, sizes);
    check_sort<std::uint32_t>(random, sizes);
  }
}

// Labels

template <class T>
void check_labels(Random& random) {
  for (const bool by_column : {false, true}) {
    for (const std::int64_t shards : {1, 3}) {
      trying = std::string(by_column ? "by column" : "by row") + ", shards " + std::to_string(shards);
      std::vector<std::byte> elements(131 * 13 * sizeof(T));
      for (std::size_t i = 0; i < 131 * 13; ++i) {
        const T one = [] {
          if constexpr (std::is_same_v<T, Float16>) return T{0x3C00};
          if constexpr (std::is_same_v<T, BFloat16>) return T{0x3F80};
          if constexpr (!std::is_same_v<T, Float16> && !std::is_same_v<T, BFloat16>) return static_cast<T>(1);
        }();
        if (random.below(7) == 0) std::memcpy(elements.data() + i * sizeof(T), &one, sizeof(T));
      }
      const TwinMatrix twin(code_of<T>(), elements, 131, 13, sizeof(T), by_column, shards);
      check_same_positives(cpu::find_positives(twin.host, kAlone), cuda::find_positives(twin.device, 0, {}, kStream));
    }
  }
}

void labels_of_every_type() {
  Random random(2);
#define VLTR_CHECK(T) check_labels<T>(random);
  VLTR_FOR_EACH_ELEMENT(VLTR_CHECK)
#undef VLTR_CHECK
}

void many_positives_are_read_again() {
  Random random(3);
  const TwinMatrix labels = random_labels(random, 3000, 5, 90, false);  // more than the first list holds
  check_same_positives(cpu::find_positives(labels.host, kAlone), cuda::find_positives(labels.device, 0, {}, kStream));
}

void the_first_bad_label_is_named() {
  for (const bool by_column : {false, true}) {
    std::vector<std::byte> elements(200 * 7, std::byte{0});
    elements[100 * 7 + 3] = std::byte{2};
    elements[100 * 7 + 5] = std::byte{9};
    elements[150 * 7] = std::byte{7};
    const TwinMatrix labels(DType::kUInt8, elements, 200, 7, 1, by_column, 2);
    try {
      cuda::find_positives(labels.device, 0, {}, kStream);
      CHECK(false);
    } catch (const BadValue& error) {
      CHECK(error.row == 100 && error.col == 3);
    }
  }
}

void class_indices_are_positives() {
  std::vector<std::int64_t> indices{4, 0, 4, 2, 0, 4};
  std::vector<std::byte> bytes(indices.size() * 8);
  std::memcpy(bytes.data(), indices.data(), bytes.size());
  const TwinMatrix column(DType::kInt64, bytes, 6, 1, 8, false, 2);
  const cuda::Positives positives = cuda::index_positives(column.device, 5, kStream);
  CHECK(positives.offset.to_host() == std::vector<std::int64_t>({0, 2, 2, 3, 3, 6}));
  CHECK(positives.row.to_host() == std::vector<std::uint32_t>({1, 4, 3, 0, 2, 5}));
  try {
    cuda::index_positives(column.device, 4, kStream);
    CHECK(false);
  } catch (const BadValue& error) {
    CHECK(error.row == 0);
  }
}

// The rank scan

template <class T>
void check_type(Random& random) {
  trying = "dtype " + std::to_string(static_cast<int>(code_of<T>()));
  for (const bool by_column : {false, true}) {
    const TwinMatrix scores = random_matrix<T>(random, 150, 37, std::is_same_v<T, bool> ? 2 : 100, by_column, 1);
    check_rank_scan(scores, random_labels(random, 150, 37, 10, by_column), 2);
  }
}

void every_element_type() {
  Random random(4);
#define VLTR_CHECK(T) check_type<T>(random);
  VLTR_FOR_EACH_ELEMENT(VLTR_CHECK)
#undef VLTR_CHECK
}

void shards_and_shapes() {
  Random random(5);
  struct Shape {
    std::int64_t rows, cols, shards;
  };
  for (const Shape shape : {Shape{1, 1, 1}, Shape{2, 3, 2}, Shape{129, 33, 3}, Shape{300, 64, 4}, Shape{700, 2, 5}}) {
    for (const bool by_column : {false, true}) {
      trying = std::to_string(shape.rows) + " x " + std::to_string(shape.cols);
      const TwinMatrix scores = random_matrix<float>(random, shape.rows, shape.cols, 50, by_column, shape.shards);
      check_rank_scan(scores, random_labels(random, shape.rows, shape.cols, 20, false), 9);
    }
  }
}

// More positives than shared memory holds: 1,024 for the trials of a class, 3,072 for the thresholds of a strip.
void large_classes() {
  Random random(6);
  const TwinMatrix scores = random_matrix<float>(random, 9000, 3, 1 << 20, false, 1);
  check_rank_scan(scores, random_labels(random, 9000, 3, 45, false), 2);
}

// The thresholds of the last class are counted by several blocks, and its metrics are sums of a block instead of a
// warp. Its scores are mostly equal, or mostly distinct.
void very_large_classes() {
  constexpr std::int64_t kRows = 10500;
  Random random(12);
  for (const int levels : {50, 1 << 20}) {
    trying = std::to_string(levels) + " levels";
    const TwinMatrix scores = random_matrix<float>(random, kRows, 3, levels, false, 2);
    const TwinMatrix labels = random_labels(random, kRows, 3, 60, false);
    check_rank_scan(scores, labels, 1);

    const cpu::OwnedPositives positives = cpu::find_positives(labels.host, kAlone);
    const RankTable given = cpu::positive_scores(scores.host, positives, kAlone);
    RankScanRequest request;
    request.given = &given;
    const cuda::Positives device_positives = cuda::find_positives(labels.device, 0, {}, kStream);
    const cuda::RankScanResult result =
        cuda::rank_scan(scores.device, device_positives, nullptr, {0, 0, false, &given}, kStream);
    check_same_table(cpu::rank_scan(scores.host, positives, request, kAlone).table, cuda::to_host(result.table));
    const RankTable local = cuda::to_host(cuda::positive_scores(scores.device, device_positives, kStream));
    CHECK(local.offset == given.offset && local.thresholds == given.thresholds && local.tp == given.tp);

    const RankTable table = cuda::to_host(result.table);
    std::vector<double> calibrated;
    std::vector<double> auc;
    for (std::int64_t c = 0; c < table.offset.lists(); ++c) {
      const std::int64_t first = table.offset.first(c);
      const std::int64_t count = table.offset.length(c);
      const std::int64_t negatives = kRows - (count == 0 ? 0 : table.tp[first + count - 1]);
      calibrated.push_back(
          calibrated_average_precision(table.tp.data() + first, table.fp.data() + first, count, negatives, 0.01));
      auc.push_back(
          roc_auc(table.tp.data() + first, table.fp.data() + first, table.tied.data() + first, count, negatives));
    }
    const cuda::DeviceRankTable device_table =
        cuda::rank_scan(scores.device, device_positives, nullptr, {0, 0, false, nullptr}, kStream).table;
    CHECK(same_bits(cuda::calibrated_average_precision(device_table, 0.01), calibrated));
    CHECK(same_bits(cuda::roc_auc(device_table), auc));
  }
}

void given_thresholds() {
  Random random(7);
  const TwinMatrix scores = random_matrix<float>(random, 400, 9, 60, false, 1);
  const TwinMatrix labels = random_labels(random, 400, 9, 20, false);
  const cpu::OwnedPositives all = cpu::find_positives(labels.host, kAlone);
  const RankTable shared = cpu::positive_scores(scores.host, all, kAlone);
  Offsets half_offset{0};  // of half of the positives, as of a shard that lacks some
  Array<std::uint32_t> half_rows;
  for (std::int64_t c = 0; c < all.classes(); ++c) {
    for (std::int64_t i = all.offset[c]; i < all.offset[c + 1]; i += 2) half_rows.push_back(all.rows[i]);
    half_offset.push_back(half_rows.count());
  }
  const cpu::Positives half({half_offset.data(), half_offset.count()}, {half_rows.data(), half_rows.count()});
  RankScanRequest request;
  request.given = &shared;
  const cuda::Positives device_half = cuda::upload_positives(half.offset, half.rows, 400, kStream);
  const cuda::RankScanResult result =
      cuda::rank_scan(scores.device, device_half, nullptr, {0, 0, false, &shared}, kStream);
  check_same_table(cpu::rank_scan(scores.host, half, request, kAlone).table, cuda::to_host(result.table));

  const RankTable lacking = cpu::positive_scores(scores.host, half, kAlone);
  const cuda::Positives device_all = cuda::upload_positives(all.offset, all.rows, 400, kStream);
  CHECK_THROWS(MissingThreshold, cuda::rank_scan(scores.device, device_all, nullptr, {0, 0, false, &lacking}, kStream));
  const RankTable local = cuda::to_host(cuda::positive_scores(scores.device, device_all, kStream));
  CHECK(local.offset == shared.offset && local.thresholds == shared.thresholds && local.tp == shared.tp);
}

template <class T>
void check_reached(Random& random) {
  trying = "dtype " + std::to_string(static_cast<int>(code_of<T>()));
  for (const bool by_column : {false, true}) {
    for (const std::int64_t shards : {1, 3}) {
      const TwinMatrix scores = random_matrix<T>(random, 90, 11, std::is_same_v<T, bool> ? 2 : 100, by_column, shards);
      const TwinMatrix labels = random_labels(random, 90, 11, 30, false);
      const RankTable given = cpu::positive_scores(scores.host, cpu::find_positives(labels.host, kAlone), kAlone);
      for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{600}}) {
        std::vector<std::uint32_t> rows(count);
        std::vector<std::uint32_t> classes(count);
        for (std::uint32_t& row : rows) row = static_cast<std::uint32_t>(random.below(90));
        for (std::uint32_t& cls : classes) cls = static_cast<std::uint32_t>(random.below(11));
        const Cells cells{rows.data(), classes.data(), static_cast<std::int64_t>(count)};
        CHECK(cuda::count_reached(scores.device, cells, given, kStream) ==
              cpu::count_reached(scores.host, cells, given, kAlone));
      }
    }
  }
}

void reached_thresholds_are_counted() {
  Random random(10);
#define VLTR_CHECK(T) check_reached<T>(random);
  VLTR_FOR_EACH_ELEMENT(VLTR_CHECK)
#undef VLTR_CHECK
}

template <class T>
void check_copies(Random& random) {
  trying = "dtype " + std::to_string(static_cast<int>(code_of<T>()));
  const std::int64_t row_bytes = 7 * static_cast<std::int64_t>(sizeof(T));
  std::vector<std::byte> elements(61 * row_bytes);
  for (std::byte& byte : elements) byte = std::byte{static_cast<unsigned char>(random.below(256))};
  for (const bool by_column : {false, true}) {
    const TwinMatrix source(code_of<T>(), elements, 61, 7, sizeof(T), by_column, 1);
    const cuda::DeviceArray<std::byte> rows(kStream, 61 * row_bytes);
    cuda::copy_rows(source.device, rows.data(), kStream);
    CHECK(rows.to_host() == elements);

    Matrix reversed = source.device;
    Shard& shard = reversed.shards.front();
    shard.data += 60 * shard.row_stride;
    shard.row_stride = -shard.row_stride;
    cuda::copy_rows(reversed, rows.data(), kStream);
    const std::vector<std::byte> copied = rows.to_host();
    for (std::int64_t row = 0; row < 61; ++row) {
      CHECK(std::equal(copied.begin() + row * row_bytes, copied.begin() + (row + 1) * row_bytes,
                       elements.begin() + (60 - row) * row_bytes));
    }
  }
}

void rows_are_copied() {
  Random random(11);
#define VLTR_CHECK(T) check_copies<T>(random);
  VLTR_FOR_EACH_ELEMENT(VLTR_CHECK)
#undef VLTR_CHECK
  Matrix nothing{DType::kFloat32, 0, 7, {}};
  nothing.append(nullptr, 0, 28, 4);
  cuda::copy_rows(nothing, nullptr, kStream);
}

void weights() {
  Random random(8);
  const TwinMatrix scores = random_matrix<float>(random, 500, 5, 40, false, 2);
  const TwinMatrix labels = random_labels(random, 500, 5, 30, false);
  std::vector<double> weight(500);
  for (double& w : weight) w = random.below(4) == 0 ? 0.0 : random.below(1 << 30) * 1e-300;
  std::vector<std::byte> bytes(weight.size() * 8);
  std::memcpy(bytes.data(), weight.data(), bytes.size());
  const TwinMatrix column(DType::kFloat64, bytes, 500, 1, 8, false, 1);
  const cuda::Positives positives = cuda::find_positives(labels.device, 0, {}, kStream);
  CHECK(same_bits(
      cuda::weighted_average_precision(scores.device, positives, nullptr, column.device, kStream),
      cpu::weighted_average_precision(scores.host, cpu::find_positives(labels.host, kAlone), weight.data(), kAlone)));
}

// The effects of rows

// Random effects of rows on random groups of classes, at the thresholds of a table.
struct RandomEffects {
  RandomEffects(Random& random, RankTable table, int metrics_, std::int64_t groups_)
      : thresholds(std::move(table)), metrics(metrics_), width(metrics_ == 3 ? 4 : metrics_), groups(groups_) {
    const std::int64_t classes = thresholds.offset.lists();
    const std::int64_t count = thresholds.offset.back();
    // Numbers of 47 bits, so that an addition of 32 bits or in floating point shows.
    const auto fill = [&](Array<std::int64_t>& values, std::int64_t entries) {
      values.assign(entries * width, 0);
      for (std::int64_t i = 0; i < entries * width; ++i) {
        if (i % width >= metrics) continue;
        const auto size = static_cast<std::int64_t>(random.below(1 << 30)) * (1 << 17) + random.below(1 << 17);
        values[i] = random.below(2) == 0 ? size : -size;
      }
    };
    fill(base, classes);
    fill(negative, 2 * count);
    fill(positive, count);
    for (std::int64_t c = 0; c < classes; ++c) group.push_back(random.below(static_cast<int>(groups)));
  }
  cuda::EffectTables view() const {
    const auto span = [](const Array<std::int64_t>& a) { return Span<const std::int64_t>(a.data(), a.count()); };
    return {&thresholds, metrics, width, span(negative), span(positive), span(base), span(group), groups};
  }

  RankTable thresholds;
  int metrics;
  int width;
  std::int64_t groups;
  Array<std::int64_t> group, base, negative, positive;
};

// The sums by definition: for each cell, a walk over the thresholds of its class from the highest.
Array<std::int64_t> sums_by_definition(const Matrix& scores, const cpu::Positives& positives,
                                       const RandomEffects& effects) {
  Array<std::int64_t> sums(scores.rows * effects.groups * effects.metrics);
  with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto& thresholds = std::get<TableColumn<LaneOf<T>>>(effects.thresholds.thresholds);
    for (std::int64_t c = 0; c < scores.cols; ++c) {
      const std::int64_t first = effects.thresholds.offset[c];
      const std::int64_t end = effects.thresholds.offset[c + 1];
      for (std::int64_t row = 0; row < scores.rows; ++row) {
        const auto score = to_lane(load_element<T>(scores.shard_of(row).at(row, c)));
        const auto* const rows = positives.rows.data();
        const bool is_positive = std::binary_search(rows + positives.offset[c], rows + positives.offset[c + 1], row);
        std::int64_t* const sum = sums.data() + (row * effects.groups + effects.group[c]) * effects.metrics;
        for (int m = 0; m < effects.metrics; ++m) sum[m] += effects.base[c * effects.width + m];
        std::int64_t k = first;
        while (k < end && !(score >= thresholds[k])) ++k;
        if (k == end) continue;
        const std::int64_t ascending = first + end - 1 - k;
        const std::int64_t bucket = 2 * ascending + (score == thresholds[k] ? 0 : 1);
        const std::int64_t* const entry = is_positive ? effects.positive.data() + ascending * effects.width
                                                      : effects.negative.data() + bucket * effects.width;
        for (int m = 0; m < effects.metrics; ++m) sum[m] += entry[m];
      }
    }
  });
  return sums;
}

void check_effects(Random& random, const TwinMatrix& scores, const TwinMatrix& labels, int metrics,
                   std::int64_t groups) {
  const cpu::OwnedPositives positives = cpu::find_positives(labels.host, kAlone);
  const RandomEffects effects(random, cpu::positive_scores(scores.host, positives, kAlone), metrics, groups);
  const Array<std::int64_t> expected = sums_by_definition(scores.host, positives, effects);
  const cuda::Positives device_positives = cuda::find_positives(labels.device, 0, {}, kStream);
  CHECK(cuda::row_effects(scores.device, device_positives, nullptr, effects.view(), kStream) == expected);
}

template <class T>
void check_effects_of(Random& random) {
  trying = "dtype " + std::to_string(static_cast<int>(code_of<T>()));
  for (const bool by_column : {false, true}) {
    const TwinMatrix scores = random_matrix<T>(random, 150, 37, std::is_same_v<T, bool> ? 2 : 100, by_column, 1);
    check_effects(random, scores, random_labels(random, 150, 37, 10, by_column), 3, 4);
  }
}

void effects_of_every_type() {
  Random random(13);
#define VLTR_CHECK(T) check_effects_of<T>(random);
  VLTR_FOR_EACH_ELEMENT(VLTR_CHECK)
#undef VLTR_CHECK
}

void effects_of_shards_and_shapes() {
  Random random(14);
  struct Shape {
    std::int64_t rows, cols, shards;
    int metrics;
    std::int64_t groups;
  };
  for (const Shape shape : {Shape{1, 1, 1, 1, 1}, Shape{2, 3, 2, 4, 9}, Shape{129, 33, 3, 2, 3},
                            Shape{300, 64, 4, 4, 64}, Shape{700, 2, 5, 1, 2}, Shape{40, 130, 2, 3, 1}}) {
    for (const bool by_column : {false, true}) {
      trying = std::to_string(shape.rows) + " x " + std::to_string(shape.cols);
      const TwinMatrix scores = random_matrix<float>(random, shape.rows, shape.cols, 50, by_column, shape.shards);
      const TwinMatrix labels = random_labels(random, shape.rows, shape.cols, 20, false);
      check_effects(random, scores, labels, shape.metrics, shape.groups);
    }
  }
}

// Shared memory has no room for the thresholds of a class, or for those of all classes of a strip.
void effects_of_large_classes() {
  Random random(15);
  const TwinMatrix large = random_matrix<double>(random, 4000, 5, 1 << 20, false, 1);
  check_effects(random, large, random_labels(random, 4000, 5, 45, false), 2, 2);
  const TwinMatrix many = random_matrix<float>(random, 1500, 40, 1 << 20, false, 1);
  check_effects(random, many, random_labels(random, 1500, 40, 20, false), 1, 3);
}

// A chunk of the rows, with the thresholds of all of them.
void effects_of_chunks() {
  Random random(16);
  const std::int64_t rows = 500, cols = 40;
  const TwinMatrix scores = random_matrix<float>(random, rows, cols, 200, false, 2);
  const TwinMatrix labels = random_labels(random, rows, cols, 10, false);
  const cpu::OwnedPositives positives = cpu::find_positives(labels.host, kAlone);
  const RandomEffects effects(random, cpu::positive_scores(scores.host, positives, kAlone), 2, 3);
  Array<std::int64_t> joined;
  for (const std::size_t part : {0, 1}) {
    Matrix chunk = scores.device;
    chunk.shards = {scores.device.shards[part]};
    chunk.rows = chunk.shards[0].rows;
    chunk.shards[0].first_row = 0;
    Matrix chunk_labels = labels.device;
    chunk_labels.shards[0].data += scores.device.shards[part].first_row * cols;
    chunk_labels.shards[0].rows = chunk_labels.rows = chunk.rows;
    const cuda::Positives device_positives = cuda::find_positives(chunk_labels, 0, {}, kStream);
    const Array<std::int64_t> sums = cuda::row_effects(chunk, device_positives, nullptr, effects.view(), kStream);
    joined.insert(joined.end(), sums.begin(), sums.end());
  }
  CHECK(joined == sums_by_definition(scores.host, positives, effects));
}

void effects_need_the_scores_of_the_table() {
  Random random(17);
  const TwinMatrix scores = random_matrix<float>(random, 300, 9, 100, false, 1);
  const TwinMatrix labels = random_labels(random, 300, 9, 20, false);
  const cpu::OwnedPositives positives = cpu::find_positives(labels.host, kAlone);
  const RandomEffects effects(random, cpu::positive_scores(scores.host, positives, kAlone), 1, 1);
  const cuda::Positives device_positives = cuda::find_positives(labels.device, 0, {}, kStream);
  const TwinMatrix other = random_matrix<float>(random, 300, 9, 1 << 20, false, 1);
  CHECK_THROWS(MissingThreshold, cuda::row_effects(other.device, device_positives, nullptr, effects.view(), kStream));

  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::int64_t at : {131 * 9 + 7, 131 * 9 + 5, 290 * 9}) {
    cuda::copy_to_device(kStream, const_cast<std::byte*>(scores.device.shards[0].data) + 4 * at, &nan, 4);
  }
  try {
    cuda::row_effects(scores.device, device_positives, nullptr, effects.view(), kStream);
    CHECK(false);
  } catch (const BadValue& error) {
    CHECK(error.row == 131 && error.col == 5);
  }
}

void the_first_nan_is_named() {
  std::vector<float> values(300 * 20, 1.0f);
  values[77 * 20 + 19] = values[77 * 20 + 11] = values[200 * 20] = std::numeric_limits<float>::quiet_NaN();
  std::vector<std::byte> bytes(values.size() * 4);
  std::memcpy(bytes.data(), values.data(), bytes.size());
  Random random(9);
  for (const bool by_column : {false, true}) {
    const TwinMatrix scores(DType::kFloat32, bytes, 300, 20, 4, by_column, 1);
    for (const int common : {0, 30}) {
      const cuda::Positives positives =
          cuda::find_positives(random_labels(random, 300, 20, common, false).device, 0, {}, kStream);
      try {
        cuda::rank_scan(scores.device, positives, nullptr, {1, 0, true, nullptr}, kStream);
        CHECK(false);
      } catch (const BadValue& error) {
        CHECK(error.row == 77 && error.col == 11);
      }
    }
  }
}

}  // namespace
}  // namespace vltr

int main() {
  if (vltr::cuda::device_count() == 0) {
    std::printf("NOT RUN: %s\n", vltr::cuda::why_no_device().c_str());
    return 0;
  }
  using namespace vltr;
  return test::run_tests({{"segments_are_sorted", segments_are_sorted},
                          {"labels_of_every_type", labels_of_every_type},
                          {"many_positives_are_read_again", many_positives_are_read_again},
                          {"the_first_bad_label_is_named", the_first_bad_label_is_named},
                          {"class_indices_are_positives", class_indices_are_positives},
                          {"every_element_type", every_element_type},
                          {"shards_and_shapes", shards_and_shapes},
                          {"large_classes", large_classes},
                          {"very_large_classes", very_large_classes},
                          {"given_thresholds", given_thresholds},
                          {"reached_thresholds_are_counted", reached_thresholds_are_counted},
                          {"rows_are_copied", rows_are_copied},
                          {"weights", weights},
                          {"effects_of_every_type", effects_of_every_type},
                          {"effects_of_shards_and_shapes", effects_of_shards_and_shapes},
                          {"effects_of_large_classes", effects_of_large_classes},
                          {"effects_of_chunks", effects_of_chunks},
                          {"effects_need_the_scores_of_the_table", effects_need_the_scores_of_the_table},
                          {"the_first_nan_is_named", the_first_nan_is_named}});
}
