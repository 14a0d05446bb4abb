// A warp for each class: its lanes compute the summands of a metric side by side and add them in the order of the CPU.
#include "cuda/rank_table.hpp"

#include "core/sap_core.hpp"
#include "cuda/search.cuh"
#include "cuda/warp.cuh"

namespace vltr::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

struct TableView {
  const std::int64_t* offset;
  const std::int64_t* tp;
  const std::int64_t* fp;
  const std::int64_t* tied;
  std::int64_t classes;
  std::int64_t rows;
};

TableView view_of(const DeviceRankTable& table) {
  return {table.offset.data(), table.tp.data(), table.fp.data(), table.tied.data(), table.classes, table.rows};
}

// One class of a table.
struct ClassView {
  std::int64_t first;  // of the class in the table
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
        negatives(table.rows - positives) {}

  template <class PrecisionAt>
  __device__ double mean_of(const PrecisionAt& precision_at, double* staged) const {
    const std::int64_t* const own = tp;
    const double sum =
        ordered_sum(count, [&](std::int64_t k) { return precision_summand(own, k, precision_at); }, staged);
    return mean_over_positives(sum, tp, count);
  }
};

struct AveragePrecision {
  __device__ double operator()(const ClassView& own, double* staged) const {
    return own.mean_of(Precision{own.tp, own.fp}, staged);
  }
};

struct CalibratedAveragePrecision {
  double prevalence;
  __device__ double operator()(const ClassView& own, double* staged) const {
    if (own.count != 0 && own.negatives == 0) return 1.0;
    return own.mean_of(calibrated_precision(own.tp, own.fp, own.count, own.negatives, prevalence), staged);
  }
};

struct RocAuc {
  __device__ double operator()(const ClassView& own, double*) const {
    Wide sum = 0;
    for (std::int64_t k = lane_id(); k < own.count; k += kWarp) {
      sum += twice_wins(own.tp, own.fp, own.tied, k, own.negatives);
    }
    return vltr::roc_auc(last_lane(inclusive_sum(sum)), own.positives, own.negatives);
  }
};

// From the expected precision of every threshold.
struct MeanOfPrecisions {
  const double* precision;
  __device__ double operator()(const ClassView& own, double* staged) const {
    const double* const at = precision + own.first;
    return own.mean_of([at](std::int64_t k) { return at[k]; }, staged);
  }
};

struct Chance {
  __device__ double operator()(const ClassView& own, double*) const {
    return vltr::sampled_average_precision_chance(own.positives, own.negatives);
  }
};

template <class Metric>
__global__ void __launch_bounds__(kThreads, 6) metric_of_classes(TableView table, Metric metric, double* out) {
  __shared__ double staged[kWarps][kStagedSummands];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const std::int64_t c = blockIdx.x * std::int64_t{kWarps} + warp;
  if (c >= table.classes) return;
  const double value = metric(ClassView(table, c), staged[warp]);
  if (lane_id() == 0) out[c] = value;
}

// A thread for each threshold, since one threshold of a large class is a long walk.
__global__ void __launch_bounds__(kThreads)
    expected_precisions(TableView table, std::int64_t count, double* precision) {
  const std::int64_t k = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (k >= count) return;
  const std::int64_t c = segment_of(table.offset, table.classes, k);
  const ClassView own(table, c);
  const std::int64_t at = k - own.first;
  if (own.tp[at] == (at == 0 ? 0 : own.tp[at - 1])) return;  // adds nothing, and is not looked at
  precision[k] = expected_precision(own.tp[at], own.negatives, own.fp[at], sap_draws(own.positives, own.negatives));
}

template <class Metric>
std::vector<double> per_class(const DeviceRankTable& table, const char* name, const Metric& metric) {
  const DeviceArray<double> out(table.stream(), table.classes);
  launch(table.stream(), name, metric_of_classes<Metric>, blocks_for(table.classes, kWarps), kThreads, 0,
         view_of(table), metric, out.data());
  return out.to_host();
}

}  // namespace

RankTable to_host(const DeviceRankTable& table) {
  const DeviceGuard guard(table.stream().device);
  const std::vector<std::int64_t> offset = table.offset.to_host();
  const std::vector<std::int64_t> tp = table.tp.to_host();
  const std::vector<std::int64_t> fp = table.fp.to_host();
  const std::vector<std::int64_t> tied = table.tied.to_host();
  RankTable host;
  std::visit(
      [&](const auto& device_thresholds) {
        const auto all = device_thresholds.to_host();
        auto kept = all;
        kept.clear();
        host.offset.push_back(0);
        for (std::size_t c = 0; c + 1 < offset.size(); ++c) {
          for (auto k = static_cast<std::size_t>(offset[c]); k < static_cast<std::size_t>(offset[c + 1]); ++k) {
            if (k > static_cast<std::size_t>(offset[c]) && all[k] == all[k - 1]) continue;
            kept.push_back(all[k]);
            host.tp.push_back(tp[k]);
            host.fp.push_back(fp[k]);
            host.tied.push_back(tied[k]);
          }
          host.offset.push_back(static_cast<std::int64_t>(kept.size()));
        }
        host.thresholds = std::move(kept);
      },
      table.thresholds);
  return host;
}

std::vector<double> average_precision(const DeviceRankTable& table) {
  const DeviceGuard guard(table.stream().device);
  return per_class(table, "average_precision", AveragePrecision{});
}

std::vector<double> calibrated_average_precision(const DeviceRankTable& table, double prevalence) {
  const DeviceGuard guard(table.stream().device);
  return per_class(table, "calibrated_average_precision", CalibratedAveragePrecision{prevalence});
}

std::vector<double> roc_auc(const DeviceRankTable& table) {
  const DeviceGuard guard(table.stream().device);
  return per_class(table, "roc_auc", RocAuc{});
}

std::vector<double> expected_sampled_average_precision(const DeviceRankTable& table) {
  const DeviceGuard guard(table.stream().device);
  const std::int64_t count = table.tp.size();
  const DeviceArray<double> precision(table.stream(), count);
  if (count != 0) {
    launch(table.stream(), "expected_precisions", expected_precisions, blocks_for(count, kThreads), kThreads, 0,
           view_of(table), count, precision.data());
  }
  return per_class(table, "expected_sampled_average_precision", MeanOfPrecisions{precision.data()});
}

std::vector<double> sampled_average_precision_chance(const DeviceRankTable& table) {
  const DeviceGuard guard(table.stream().device);
  return per_class(table, "sampled_average_precision_chance", Chance{});
}

}  // namespace vltr::cuda
