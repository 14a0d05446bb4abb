#include "cuda/append_batch.hpp"

#include "core/tensor.hpp"
#include "cuda/matrix_view.cuh"

namespace vltr::cuda {
namespace {

constexpr int kThreads = 256;

template <class Label>
__global__ void __launch_bounds__(kThreads)
    append_elements(Shard scores, std::int64_t score_size, Shard labels, std::int64_t cols, std::byte* to_scores,
                    std::byte* to_labels, std::int64_t first_row, unsigned long long* first_bad) {
  const std::int64_t index = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (index >= scores.rows * cols) return;
  const std::int64_t row = index / cols;
  const std::int64_t col = index % cols;
  copy_element(to_scores + index * score_size, scores.at(row, col), score_size);
  const int label = label_of(load_element<Label>(labels.at(row, col)));
  if (label == kBadLabel) note_first(first_bad, first_row + row, cols, col);
  to_labels[index] = static_cast<std::byte>(label == 1);
}

}  // namespace

void append_batch(const Matrix& scores, const Matrix& labels, std::byte* to_scores, std::byte* to_labels,
                  std::int64_t first_row, unsigned long long* first_bad, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  const std::int64_t score_size = size_of(scores.dtype);
  with_element_type(labels.dtype, [&](auto tag) {
    launch(stream, "append_batch", append_elements<typename decltype(tag)::type>,
           blocks_for(scores.rows * scores.cols, kThreads), kThreads, 0, scores.shards.front(), score_size,
           labels.shards.front(), scores.cols, to_scores, to_labels, first_row, first_bad);
  });
}

}  // namespace vltr::cuda
