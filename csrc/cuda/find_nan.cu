#include "cuda/find_nan.hpp"

#include "cuda/matrix_view.cuh"

namespace vltr::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads) find_nan(Shard shard, std::int64_t cols, unsigned long long* first) {
  for_each_element(shard, cols, [&](std::int64_t row, std::int64_t col) {
    const auto lane = to_lane(load_element<T>(shard.at(row, col)));
    if (lane != lane) note_first(first, row, cols, col);
  });
}

}  // namespace

void throw_if_nan(const Matrix& scores, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  const DeviceArray<unsigned long long> first(stream, 1);
  first.fill(0xFF);  // kNoIndex
  with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (const Shard& shard : scores.shards) {
      if (shard.rows == 0) continue;
      launch(stream, "find_nan", find_nan<T>, at_once(stream, blocks_for(shard.rows * scores.cols, kThreads)), kThreads,
             0, shard, scores.cols, first.data());
    }
  });
  const unsigned long long flat_index = first.to_host().front();
  if (flat_index == kNoIndex) return;
  const auto at = static_cast<std::int64_t>(flat_index);
  throw BadValue("scores", at / scores.cols, at % scores.cols);
}

}  // namespace vltr::cuda
