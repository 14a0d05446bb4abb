#include "cpu/reduce_rows.hpp"

#include <algorithm>
#include <atomic>
#include <limits>

#include "core/errors.hpp"
#include "core/exact_sum_core.hpp"
#include "core/exp_core.hpp"
#include "cpu/reduce_strip.hpp"

namespace vltr::cpu {
namespace {

// A block of videos and classes: the unit of scheduling.
struct Item {
  std::int64_t first_video;
  std::int64_t end_video;
  std::int64_t first_col;
  std::int64_t cols;
};

// Items of about equal work. The classes of a video of very many views are divided.
Array<Item> items_of(OffsetSpan offset, std::int64_t cols) {
  constexpr std::int64_t kElements = 1 << 18;
  constexpr std::int64_t kLeastCols = 64;
  Array<Item> items;
  for (std::int64_t video = 0; video < offset.lists();) {
    std::int64_t end = video + 1;
    while (end < offset.lists() && (offset[end + 1] - offset[video]) * cols <= kElements) ++end;
    const std::int64_t views = offset[end] - offset[video];
    const std::int64_t width =
        std::min({cols, kReduceStrip, std::max(kLeastCols, 16 * kElements / std::max<std::int64_t>(views, 1))});
    for (std::int64_t col = 0; col < cols; col += width) {
      items.push_back({video, end, col, std::min(width, cols - col)});
    }
    video = end;
  }
  return items;
}

template <class T>
double to_double(T element) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<double>(element);
  } else {
    return static_cast<double>(to_lane(element));
  }
}

// The sum of one class, for any scores but NaN. Infinities of both signs give NaN. scale: 1, or a power of two by
// which the scores are multiplied so that no partial sum overflows.
template <class T>
double exact_sum(const View* views, std::int64_t count, std::int64_t col, double* scale) {
  const auto at = [&](std::int64_t i) { return load_element<T>(views[i].data + col * views[i].col_stride); };
  double most = 0.0;
  double infinities = 0.0;
  for (std::int64_t i = 0; i < count; ++i) {
    const double value = to_double(at(i));
    if (value - value != 0.0) infinities += value;
    most = std::max(most, value < 0.0 ? -value : value);
  }
  *scale = 1.0;
  if (infinities != 0.0) return infinities;
  if (most >= 0x1p+900) *scale = 0x1p-64;
  ExactSum sum;
  for (std::int64_t i = 0; i < count; ++i) {
    if constexpr (std::is_integral_v<T> && sizeof(T) == 8) {
      const auto half = static_cast<std::uint32_t>(static_cast<std::uint64_t>(at(i)));
      sum.add(static_cast<double>(static_cast<T>(at(i) - static_cast<T>(half))));
      sum.add(static_cast<double>(half));
    } else {
      sum.add(to_double(at(i)) * *scale);
    }
  }
  return sum.rounded();
}

template <class T>
class Reducer {
 public:
  Reducer(const Matrix& scores, OffsetSpan offset, Span<const std::uint32_t> rows, Reduction how, std::byte* out)
      : scores_(scores), offset_(offset), rows_(rows), how_(how), out_(out) {}

  // Returns false at a NaN.
  bool reduce(const Item& item) {
    Array<View> views;
    for (std::int64_t video = item.first_video; video < item.end_video; ++video) {
      views.resize(offset_.length(video));
      for (std::int64_t i = 0; i < views.count(); ++i) {
        const std::int64_t row = rows_[offset_.first(video) + i];
        const Shard& shard = scores_.shard_of(row);
        views[i] = {shard.at(row, 0), shard.col_stride};
      }
      for (std::int64_t col = item.first_col; col < item.first_col + item.cols; col += kReduceStrip) {
        const std::int64_t cols = std::min(kReduceStrip, item.first_col + item.cols - col);
        if (!reduce_strip(video, {views.data(), views.count(), col, cols})) return false;
      }
    }
    return true;
  }

  // The first sum that has infinities of both signs, as video * C + class; the largest number if there is none.
  std::uint64_t first_undefined() const { return first_undefined_; }

 private:
  bool reduce_strip(std::int64_t video, const ReduceStrip& strip) {
    const std::int64_t cell = video * scores_.cols + strip.first_col;
    double value[kReduceStrip];
    switch (how_) {
      case Reduction::kMax:
        return kernels_.max(strip, out_ + cell * std::int64_t{sizeof(T)});
      case Reduction::kLogMeanExp: {
        double sum[kReduceStrip];
        if (!kernels_.exp_sum(strip, value, sum)) return false;
        const auto count = static_cast<double>(strip.count);
        for (std::int64_t j = 0; j < strip.cols; ++j) {
          if (value[j] - value[j] == 0.0) value[j] += log_of_positive(sum[j] / count);
        }
        break;
      }
      case Reduction::kMean:
      case Reduction::kSum:
        if (!sum_strip(video, strip, value)) return false;
    }
    write(cell, strip.cols, value);
    return true;
  }

  bool sum_strip(std::int64_t video, const ReduceStrip& strip, double* value) {
    unsigned char exact[kReduceStrip];
    kernels_.sum(strip, value, exact);
    const double count = how_ == Reduction::kMean ? static_cast<double>(strip.count) : 1.0;
    for (std::int64_t j = 0; j < strip.cols; ++j) {
      if (exact[j] != 0) {
        value[j] /= count;
        continue;
      }
      const std::int64_t col = strip.first_col + j;
      for (std::int64_t i = 0; i < strip.count; ++i) {
        const double x = to_double(load_element<T>(strip.views[i].data + col * strip.views[i].col_stride));
        if (x != x) return false;
      }
      double scale;
      value[j] = exact_sum<T>(strip.views, strip.count, col, &scale) / count / scale;
      if (value[j] != value[j]) set_undefined(static_cast<std::uint64_t>(video * scores_.cols + col));
    }
    return true;
  }

  void set_undefined(std::uint64_t cell) {
    std::uint64_t first = first_undefined_;
    while (cell < first && !first_undefined_.compare_exchange_weak(first, cell)) {
    }
  }

  void write(std::int64_t cell, std::int64_t cols, const double* value) {
    if (reduced_type(scores_.dtype, how_) == DType::kFloat64) {
      std::memcpy(out_ + cell * std::int64_t{sizeof(double)}, value, static_cast<std::size_t>(cols) * sizeof(double));
      return;
    }
    float rounded[kReduceStrip];
    for (std::int64_t j = 0; j < cols; ++j) rounded[j] = static_cast<float>(value[j]);
    std::memcpy(out_ + cell * std::int64_t{sizeof(float)}, rounded, static_cast<std::size_t>(cols) * sizeof(float));
  }

  const Matrix& scores_;
  const OffsetSpan offset_;
  const Span<const std::uint32_t> rows_;
  const Reduction how_;
  std::byte* const out_;
  const ReduceKernels<T> kernels_ = reduce_kernels<T>();
  std::atomic<std::uint64_t> first_undefined_{std::numeric_limits<std::uint64_t>::max()};
};

template <class T>
[[noreturn]] void throw_first_nan(const Matrix& scores, Span<const std::uint32_t> rows) {
  Array<std::uint32_t> ordered(rows.begin(), rows.end());
  std::sort(ordered.begin(), ordered.end());
  for (const std::int64_t row : ordered) {
    for (std::int64_t col = 0; col < scores.cols; ++col) {
      const double x = to_double(load_element<T>(scores.shard_of(row).at(row, col)));
      if (x != x) throw BadValue("scores", row, col);
    }
  }
  throw ScoresChanged();
}

template <class T>
void reduce_rows_as(const Matrix& scores, OffsetSpan offset, Span<const std::uint32_t> rows, Reduction how,
                    std::byte* out, const Runner& runner) {
  const Array<Item> items = items_of(offset, scores.cols);
  Reducer<T> reducer(scores, offset, rows, how, out);
  std::atomic<bool> has_nan{false};
  const double cost = how == Reduction::kLogMeanExp ? 8.0 : 0.5;
  runner.for_cost(cost * static_cast<double>(rows.count()) * static_cast<double>(scores.cols))
      .run(items.count(), [&](std::int64_t item, int) {
        if (!has_nan && !reducer.reduce(items[item])) has_nan = true;
      });
  if (has_nan) throw_first_nan<T>(scores, rows);
  const std::uint64_t undefined = reducer.first_undefined();
  if (undefined != std::numeric_limits<std::uint64_t>::max()) {
    const auto cell = static_cast<std::int64_t>(undefined);
    throw BadValue("infinities", cell / scores.cols, cell % scores.cols);
  }
}

}  // namespace

DType reduced_type(DType scores, Reduction how) {
  if (how == Reduction::kMax) return scores;
  return with_element_type(scores, [](auto tag) {
    using T = typename decltype(tag)::type;
    return sizeof(T) <= 2 || std::is_same_v<T, float> ? DType::kFloat32 : DType::kFloat64;
  });
}

void reduce_rows(const Matrix& scores, OffsetSpan offset, Span<const std::uint32_t> rows, Reduction how, std::byte* out,
                 const Runner& runner) {
  with_element_type(scores.dtype, [&](auto tag) {
    reduce_rows_as<typename decltype(tag)::type>(scores, offset, rows, how, out, runner);
  });
}

}  // namespace vltr::cpu
