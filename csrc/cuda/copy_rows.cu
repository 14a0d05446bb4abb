#include "cuda/copy_rows.hpp"

#include "core/tensor.hpp"
#include "cuda/matrix_view.cuh"

namespace vltr::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    copy_elements(Shard from, std::int64_t cols, std::int64_t size, std::byte* to) {
  for_each_element(from, cols, [=](std::int64_t row, std::int64_t col) {
    copy_element(to + (row * cols + col) * size, from.at(row, col), size);
  });
}

}  // namespace

void copy_rows(const Matrix& from, std::byte* to, const Stream& stream) {
  if (from.rows * from.cols == 0) return;
  const DeviceGuard guard(stream.device);
  launch(stream, "copy_rows", copy_elements, at_once(stream, blocks_for(from.rows * from.cols, kThreads)), kThreads, 0,
         from.shards.front(), from.cols, size_of(from.dtype), to);
}

}  // namespace vltr::cuda
