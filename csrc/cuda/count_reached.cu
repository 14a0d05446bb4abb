#include "cuda/count_reached.hpp"

#include "cuda/matrix_view.cuh"
#include "cuda/search.cuh"

namespace vltr::cuda {
namespace {

constexpr int kThreads = 256;

// row_then_reached has the row of each cell. The number of thresholds that the cell reaches replaces it.
template <class T>
__global__ void __launch_bounds__(kThreads)
    search_cells(MatrixView scores, const std::uint32_t* cls, std::int64_t count, const LaneOf<T>* keys,
                 const std::int64_t* offset, std::uint32_t* row_then_reached) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i >= count) return;
  const std::int64_t row = row_then_reached[i];
  const std::int64_t first = offset[cls[i]];
  const LaneOf<T> score = to_lane(load_element<T>(scores.shard_of(row).at(row, cls[i])));
  row_then_reached[i] = static_cast<std::uint32_t>(keys_before(keys + first, offset[cls[i] + 1] - first, score, true));
}

DeviceArray<std::uint32_t> upload(const Stream& stream, const std::uint32_t* values, std::int64_t count) {
  DeviceArray<std::uint32_t> array(stream, count);
  copy_to_device(stream, array.data(), values, count * static_cast<std::int64_t>(sizeof(std::uint32_t)));
  return array;
}

}  // namespace

Array<std::uint32_t> count_reached(const Matrix& scores, const Cells& cells, const RankTable& thresholds,
                                   const Stream& stream) {
  if (cells.count == 0) return {};
  const DeviceGuard guard(stream.device);
  const DeviceMatrix matrix(scores, stream);
  const DeviceArray<std::uint32_t> cls = upload(stream, cells.cls, cells.count);
  const DeviceArray<std::uint32_t> row_then_reached = upload(stream, cells.row, cells.count);
  const DeviceArray<std::int64_t> offset(stream, thresholds.offset);
  with_element_type(scores.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const DeviceArray<LaneOf<T>> keys(stream, ascending_thresholds<LaneOf<T>>(thresholds));
    launch(stream, "count_reached", search_cells<T>, blocks_for(cells.count, kThreads), kThreads, 0, matrix.view(),
           cls.data(), cells.count, keys.data(), offset.data(), row_then_reached.data());
  });
  return row_then_reached.to_host();
}

}  // namespace vltr::cuda
