// The rank table in device memory, and the metrics that follow from it.
#pragma once

#include <variant>

#include "core/rank_table.hpp"
#include "core/unknown.hpp"
#include "cuda/device.hpp"

namespace vltr::cuda {

using LaneArray = std::variant<DeviceArray<float>, DeviceArray<double>, DeviceArray<std::int64_t>>;

// Class after class, thresholds descending in each. Unlike the table in host memory it may hold a threshold several
// times, once for each positive with this score. The first entry counts; the others repeat its tp and fp and add
// nothing to any metric.
struct DeviceRankTable {
  std::int64_t rows = 0;
  std::int64_t classes = 0;
  std::int64_t longest = 0;  // the thresholds of the class that has most
  DeviceArray<std::int64_t> offset;
  LaneArray thresholds;
  DeviceArray<std::int64_t> tp;
  DeviceArray<std::int64_t> fp;
  DeviceArray<std::int64_t> tied;
  DeviceArray<std::int64_t> unknown;  // unknown cells of each class; empty if there are none

  const Stream& stream() const { return offset.stream(); }
  // Moves all arrays (see Memory::move_to).
  void move_to(const Stream& stream) {
    offset.move_to(stream);
    std::visit([&](auto& array) { array.move_to(stream); }, thresholds);
    tp.move_to(stream);
    fp.move_to(stream);
    tied.move_to(stream);
    unknown.move_to(stream);
  }
};

// Copies the table, each threshold once. Waits for the stream, like all functions below.
RankTable to_host(const DeviceRankTable& table);

// The metrics of each class (classes), with the bits of the CPU (core/ap_core.hpp, core/sap_core.hpp).
Array<double> average_precision(const DeviceRankTable& table);
Array<double> calibrated_average_precision(const DeviceRankTable& table, double prevalence);
Array<double> roc_auc(const DeviceRankTable& table);
Array<double> expected_sampled_average_precision(const DeviceRankTable& table);
Array<double> sampled_average_precision_chance(const DeviceRankTable& table);

}  // namespace vltr::cuda
