// The rank table in device memory, and the metrics that follow from it.
#pragma once

#include <variant>

#include "core/rank_table.hpp"
#include "cuda/device.hpp"

namespace vltr::cuda {

using LaneArray = std::variant<DeviceArray<float>, DeviceArray<double>, DeviceArray<std::int64_t>>;

// Compressed rows by class, thresholds descending. Unlike the table in host memory it may hold a threshold several
// times, once for each positive that has this score: the first stands for all, the others repeat its tp and fp, and add
// nothing to any metric.
struct DeviceRankTable {
  std::int64_t rows = 0;
  std::int64_t classes = 0;
  DeviceArray<std::int64_t> offset;
  LaneArray thresholds;
  DeviceArray<std::int64_t> tp;
  DeviceArray<std::int64_t> fp;
  DeviceArray<std::int64_t> tied;

  const Stream& stream() const { return offset.stream(); }
  // As Memory::move_to.
  void move_to(const Stream& stream) {
    offset.move_to(stream);
    std::visit([&](auto& array) { array.move_to(stream); }, thresholds);
    tp.move_to(stream);
    fp.move_to(stream);
    tied.move_to(stream);
  }
};

// Each threshold once. Waits for the stream, as all below do.
RankTable to_host(const DeviceRankTable& table);

// Of each class: (classes) values, the same bits as on the CPU (core/ap_core.hpp, core/sap_core.hpp).
std::vector<double> average_precision(const DeviceRankTable& table);
std::vector<double> calibrated_average_precision(const DeviceRankTable& table, double prevalence);
std::vector<double> roc_auc(const DeviceRankTable& table);
std::vector<double> expected_sampled_average_precision(const DeviceRankTable& table);
std::vector<double> sampled_average_precision_chance(const DeviceRankTable& table);

}  // namespace vltr::cuda
