// The bootstrap on CPU threads.
#include "cpu/bootstrap.hpp"

#include "bindings/bindings.hpp"

namespace vltr {
namespace {

constexpr std::int64_t kMaxReplicates = (std::int64_t{1} << 31) - 1;

Resampling to_method(const std::string& name) {
  if (name != "poisson" && name != "multinomial") throw py::value_error("method: expected poisson or multinomial");
  return name == "poisson" ? Resampling::kPoisson : Resampling::kMultinomial;
}

py::array_t<std::uint8_t> bootstrap_weights(std::int64_t units, std::int64_t replicates, const std::string& method,
                                            std::uint64_t seed, std::int64_t first, int threads) {
  const bool valid = units >= 0 && units <= kMaxRows && replicates >= 0 && first >= 0 && first <= kMaxReplicates &&
                     replicates <= kMaxReplicates - first;
  if (!valid) throw py::value_error("bootstrap_weights: expected below 2^32 units and below 2^31 replicates");
  py::array_t<std::uint8_t> weights({static_cast<py::ssize_t>(replicates), static_cast<py::ssize_t>(units)});
  const Resampling resampling = to_method(method);
  std::uint8_t* const data = weights.mutable_data();
  Call(threads, py::none())([&](const cpu::Runner& runner) {
    cpu::bootstrap_weights(resampling, seed, first, replicates, units, data, runner);
    return 0;
  });
  return weights;
}

py::tuple bootstrap(const Matrix& scores, const IntArray& offset, const RowArray& rows,
                    const std::optional<RowArray>& clusters, std::int64_t num_clusters, std::int64_t replicates,
                    const std::string& method, std::uint64_t seed, const std::vector<std::string>& metrics,
                    const std::optional<NumberArray<std::int32_t>>& ranks, const std::vector<std::int32_t>& topk,
                    int threads, const py::object& progress) {
  const cpu::Positives positives = to_positives(offset, rows, scores.rows, scores.cols);
  cpu::Units units{scores.rows, nullptr};
  if (clusters) {
    const bool below = clusters->size() == scores.rows && num_clusters <= scores.rows &&
                       std::all_of(clusters->data(), clusters->data() + clusters->size(),
                                   [=](std::uint32_t cluster) { return cluster < num_clusters; });
    if (!below) throw py::value_error("clusters: expected one for each row, from 0 to fewer than the rows");
    units = {num_clusters, clusters->data()};
  }
  if (replicates < 1 || replicates > kMaxReplicates) throw py::value_error("replicates: expected 1 to 2^31 - 1");
  if (!topk.empty() && (!ranks || ranks->size() != scores.rows)) {
    throw py::value_error("ranks: expected one for each row");
  }
  const auto requested = [&](const char* name) {
    return std::find(metrics.begin(), metrics.end(), name) != metrics.end();
  };
  cpu::BootstrapRequest request;
  request.method = to_method(method);
  request.seed = seed;
  request.replicates = replicates;
  request.average_precision = requested("average_precision");
  request.roc_auc = requested("roc_auc");
  request.expected_sap = requested("expected_sampled_average_precision");
  request.ranks = topk.empty() ? nullptr : ranks->data();
  request.topk = {topk.data(), static_cast<std::int64_t>(topk.size())};
  cpu::BootstrapResult found = Call(threads, progress)(
      [&](const cpu::Runner& runner) { return cpu::bootstrap(scores, positives, units, request, runner); });
  const auto count = static_cast<py::ssize_t>(topk.size());
  const auto r = static_cast<py::ssize_t>(replicates);
  const auto c = static_cast<py::ssize_t>(scores.cols);
  py::dict by_class;
  const auto add = [&](const char* name, bool wanted, TableColumn<double>& values) {
    if (wanted) by_class[name] = to_numpy(std::move(values), {r, c});
  };
  add("average_precision", request.average_precision, found.average_precision);
  add("roc_auc", request.roc_auc, found.roc_auc);
  add("expected_sampled_average_precision", request.expected_sap, found.expected_sap);
  return py::make_tuple(by_class, to_numpy(std::move(found.accuracy), {count, r}),
                        to_numpy(std::move(found.class_accuracy), {count, r, c}));
}

}  // namespace

void bind_bootstrap(py::module_& module) {
  module.def("bootstrap_weights", &bootstrap_weights, "units"_a, "replicates"_a, "method"_a, "seed"_a, "first"_a,
             "threads"_a, "Returns the weights of all units in some replicates: (replicates, units).");
  module.def("bootstrap", &bootstrap, "scores"_a, "offset"_a, "rows"_a, "clusters"_a, "num_clusters"_a, "replicates"_a,
             "method"_a, "seed"_a, "metrics"_a, "ranks"_a, "topk"_a, "threads"_a, "progress"_a,
             "Returns metrics of each class in each replicate by name, Acc@k of all rows, and Acc@k of each class.");
}

}  // namespace vltr
