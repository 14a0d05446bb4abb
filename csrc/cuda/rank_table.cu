// One warp per class. Its lanes compute the summands of a metric in parallel and add them in the order of the CPU. If a
// class is large, one block per class: its first warp adds while the others compute the next summands.
#include "cuda/rank_table.hpp"

#include "core/sap_core.hpp"
#include "cuda/search.cuh"
#include "cuda/warp.cuh"

namespace vltr::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr std::int64_t kLargeClass = 4096;  // thresholds
constexpr int kLargeThreads = 512;
constexpr int kComputing = kLargeThreads - kWarp;  // threads that compute summands
constexpr int kSummandsAhead = 4 * kComputing;

// The threads that compute the metric of one class. Only the first thread of a block has the right sum.
struct WarpGroup {
  double* staged;  // kStagedSummands in shared memory

  static constexpr int kSize = kWarp;
  __device__ int index() const { return lane_id(); }
  template <class Summand>
  __device__ double ordered_sum(std::int64_t count, const Summand& summand) const {
    return vltr::cuda::ordered_sum(count, summand, staged);
  }
  __device__ Wide total(Wide value) const { return last_lane(inclusive_sum(value)); }
};

// In each round the first warp adds the summands of the round before, one after the other, while the other warps
// compute those of this round. The order of the additions is that of a warp.
struct BlockGroup {
  double (*staged)[kSummandsAhead];  // two, in shared memory
  Wide* ends;                        // one for each warp, in shared memory

  static constexpr int kSize = kLargeThreads;
  __device__ int index() const { return static_cast<int>(threadIdx.x); }
  template <class Summand>
  __device__ double ordered_sum(std::int64_t count, const Summand& summand) const {
    double sum = 0.0;
    int added = 0;  // summands of the round before
    int turn = 0;
    for (std::int64_t start = 0; start < count || added != 0; start += kSummandsAhead, turn = 1 - turn) {
      const std::int64_t left = start < count ? count - start : 0;
      const int computed = static_cast<int>(left < kSummandsAhead ? left : kSummandsAhead);
      if (index() < kWarp) {
#pragma unroll 8
        for (int i = 0; i < added; ++i) sum += staged[1 - turn][i];
      } else {
        for (int i = index() - kWarp; i < computed; i += kComputing) staged[turn][i] = summand(start + i);
      }
      added = computed;
      __syncthreads();
    }
    return sum;
  }
  __device__ Wide total(Wide value) const {
    const Wide of_warp = last_lane(inclusive_sum(value));
    if (lane_id() == 0) ends[index() / kWarp] = of_warp;
    __syncthreads();
    Wide sum = 0;
    for (int w = 0; w < kLargeThreads / kWarp; ++w) sum += ends[w];
    return sum;
  }
};

struct TableView {
  const std::int64_t* offset;
  const std::int64_t* tp;
  const std::int64_t* fp;
  const std::int64_t* tied;
  std::int64_t classes;
  ClassRows rows;
};

TableView view_of(const DeviceRankTable& table) {
  return {table.offset.data(), table.tp.data(), table.fp.data(),
          table.tied.data(),   table.classes,   {table.rows, table.unknown.data()}};
}

// One class of a table.
struct ClassView {
  std::int64_t first;  // index in the table of the class's first threshold
  const std::int64_t* tp;
  const std::int64_t* fp;
  const std::int64_t* tied;
  std::int64_t count;
  std::int64_t positives;
  std::int64_t negatives;

  __device__ ClassView(const TableView& table, std::int64_t c)
      : first(table.offset[c]),
        tp(table.tp + first),
        fp(table.fp + first),
        tied(table.tied + first),
        count(table.offset[c + 1] - first),
        positives(count == 0 ? 0 : tp[count - 1]),
        negatives(table.rows[c] - positives) {}

  template <class PrecisionAt, class Group>
  __device__ double mean_of(const PrecisionAt& precision_at, const Group& group) const {
    const std::int64_t* const class_tp = tp;
    const double sum =
        group.ordered_sum(count, [&](std::int64_t k) { return precision_summand(class_tp, k, precision_at); });
    return mean_over_positives(sum, tp, count);
  }
};

struct AveragePrecision {
  template <class Group>
  __device__ double operator()(const ClassView& cls, const Group& group) const {
    return cls.mean_of(Precision{cls.tp, cls.fp}, group);
  }
};

struct CalibratedAveragePrecision {
  double prevalence;
  template <class Group>
  __device__ double operator()(const ClassView& cls, const Group& group) const {
    if (cls.count != 0 && cls.negatives == 0) return 1.0;
    return cls.mean_of(calibrated_precision(cls.tp, cls.fp, cls.count, cls.negatives, prevalence), group);
  }
};

struct RocAuc {
  template <class Group>
  __device__ double operator()(const ClassView& cls, const Group& group) const {
    Wide sum = 0;
    for (std::int64_t k = group.index(); k < cls.count; k += Group::kSize) {
      sum += twice_wins(cls.tp, cls.fp, cls.tied, k, cls.negatives);
    }
    return vltr::roc_auc(group.total(sum), cls.positives, cls.negatives);
  }
};

// The expected sampled AP from the expected precision of every threshold.
struct MeanOfPrecisions {
  const double* precision;
  template <class Group>
  __device__ double operator()(const ClassView& cls, const Group& group) const {
    const double* const at = precision + cls.first;
    return cls.mean_of([at](std::int64_t k) { return at[k]; }, group);
  }
};

struct Chance {
  template <class Group>
  __device__ double operator()(const ClassView& cls, const Group&) const {
    return vltr::sampled_average_precision_chance(cls.positives, cls.negatives);
  }
};

template <class Metric>
__global__ void __launch_bounds__(kLargeThreads) metric_of_large_classes(TableView table, Metric metric, double* out) {
  __shared__ double staged[2][kSummandsAhead];
  __shared__ Wide ends[kLargeThreads / kWarp];
  const double value = metric(ClassView(table, blockIdx.x), BlockGroup{staged, ends});
  if (threadIdx.x == 0) out[blockIdx.x] = value;
}

template <class Metric>
__global__ void __launch_bounds__(kThreads, 6) metric_of_classes(TableView table, Metric metric, double* out) {
  __shared__ double staged[kWarps][kStagedSummands];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const std::int64_t c = blockIdx.x * std::int64_t{kWarps} + warp;
  if (c >= table.classes) return;
  const double value = metric(ClassView(table, c), WarpGroup{staged[warp]});
  if (lane_id() == 0) out[c] = value;
}

// One thread per threshold, because one class can have most of the thresholds.
__global__ void __launch_bounds__(kThreads)
    expected_precisions(TableView table, std::int64_t count, double* precision) {
  const std::int64_t k = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (k >= count) return;
  const std::int64_t c = segment_of(table.offset, table.classes, k);
  const ClassView cls(table, c);
  const std::int64_t at = k - cls.first;
  if (cls.tp[at] == (at == 0 ? 0 : cls.tp[at - 1])) return;  // its summand is 0 and does not read the precision
  precision[k] = expected_precision(cls.tp[at], cls.negatives, cls.fp[at], sap_draws(cls.positives, cls.negatives));
}

template <class Metric>
Array<double> per_class(const DeviceRankTable& table, const char* name, const Metric& metric) {
  const DeviceArray<double> out(table.stream(), table.classes);
  if (table.longest >= kLargeClass) {
    launch(table.stream(), name, metric_of_large_classes<Metric>, table.classes, kLargeThreads, 0, view_of(table),
           metric, out.data());
  } else {
    launch(table.stream(), name, metric_of_classes<Metric>, blocks_for(table.classes, kWarps), kThreads, 0,
           view_of(table), metric, out.data());
  }
  return out.to_host();
}

}  // namespace

RankTable to_host(const DeviceRankTable& table) {
  const DeviceGuard guard(table.stream().device);
  const Array<std::int64_t> offset = table.offset.to_host();
  const Array<std::int64_t> tp = table.tp.to_host();
  const Array<std::int64_t> fp = table.fp.to_host();
  const Array<std::int64_t> tied = table.tied.to_host();
  RankTable host;
  std::visit(
      [&](const auto& device_thresholds) {
        const auto all = device_thresholds.to_host();
        TableColumn<typename std::decay_t<decltype(all)>::value_type> kept;
        host.offset.push_back(0);
        for (std::int64_t c = 0; c < table.classes; ++c) {
          for (std::int64_t k = offset[c]; k < offset[c + 1]; ++k) {
            if (k > offset[c] && all[k] == all[k - 1]) continue;
            kept.push_back(all[k]);
            host.tp.push_back(tp[k]);
            host.fp.push_back(fp[k]);
            host.tied.push_back(tied[k]);
          }
          host.offset.push_back(kept.count());
        }
        host.thresholds = std::move(kept);
      },
      table.thresholds);
  return host;
}

Array<double> average_precision(const DeviceRankTable& table) {
  const DeviceGuard guard(table.stream().device);
  return per_class(table, "average_precision", AveragePrecision{});
}

Array<double> calibrated_average_precision(const DeviceRankTable& table, double prevalence) {
  const DeviceGuard guard(table.stream().device);
  return per_class(table, "calibrated_average_precision", CalibratedAveragePrecision{prevalence});
}

Array<double> roc_auc(const DeviceRankTable& table) {
  const DeviceGuard guard(table.stream().device);
  return per_class(table, "roc_auc", RocAuc{});
}

Array<double> expected_sampled_average_precision(const DeviceRankTable& table) {
  const DeviceGuard guard(table.stream().device);
  const std::int64_t count = table.tp.size();
  const DeviceArray<double> precision(table.stream(), count);
  if (count != 0) {
    launch(table.stream(), "expected_precisions", expected_precisions, blocks_for(count, kThreads), kThreads, 0,
           view_of(table), count, precision.data());
  }
  return per_class(table, "expected_sampled_average_precision", MeanOfPrecisions{precision.data()});
}

Array<double> sampled_average_precision_chance(const DeviceRankTable& table) {
  const DeviceGuard guard(table.stream().device);
  return per_class(table, "sampled_average_precision_chance", Chance{});
}

}  // namespace vltr::cuda
