// A borrowed matrix as a kernel argument.
#pragma once

#include "core/matrix.hpp"
#include "cuda/launch.cuh"

namespace vltr::cuda {

// Shards in device memory. The first is stored by value, because most matrices have one shard.
struct MatrixView {
  Shard first;
  const Shard* shards;
  int count;

  __device__ const Shard& shard_of(std::int64_t row) const {
    if (count == 1) return first;
    int low = 0;
    for (int left = count; left > 1;) {
      const int half = left / 2;
      if (shards[low + half].first_row <= row) low += half;
      left -= half;
    }
    return shards[low];
  }
};

// Owns the shards that a view points to.
class DeviceMatrix {
 public:
  DeviceMatrix(const Matrix& matrix, const Stream& stream) : first_(matrix.shards.front()) {
    if (matrix.shards.size() > 1) shards_ = DeviceArray<Shard>(stream, matrix.shards);
  }
  MatrixView view() const {
    return {first_, shards_.data(), shards_.size() == 0 ? 1 : static_cast<int>(shards_.size())};
  }

 private:
  Shard first_;
  DeviceArray<Shard> shards_;
};

// Calls function(row, col) for every element of a shard. The threads of the grid stride over the elements in the
// order of their addresses.
template <class Function>
__device__ void for_each_element(const Shard& shard, std::int64_t cols, const Function& function) {
  const bool class_major = shard.is_class_major();
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < shard.rows * cols; i += threads) {
    const std::int64_t row = class_major ? i % shard.rows : i / cols;
    const std::int64_t col = class_major ? i / shard.rows : i % cols;
    function(shard.first_row + row, col);
  }
}

// Copies one element of 1, 2, 4 or 8 bytes and any type.
__device__ inline void copy_element(std::byte* to, const std::byte* from, std::int64_t size) {
  switch (size) {
    case 1:
      *to = *from;
      return;
    case 2:
      *reinterpret_cast<std::uint16_t*>(to) = *reinterpret_cast<const std::uint16_t*>(from);
      return;
    case 4:
      *reinterpret_cast<std::uint32_t*>(to) = *reinterpret_cast<const std::uint32_t*>(from);
      return;
    default:
      *reinterpret_cast<std::uint64_t*>(to) = *reinterpret_cast<const std::uint64_t*>(from);
  }
}

// Makes minus zero zero, so that lanes that compare equal have the same bits.
template <class Lane>
__device__ Lane canonical(Lane lane) {
  return lane + Lane{0};
}

// A flat index is row * cols + col. kNoIndex is larger than all, so that a minimum replaces it.
constexpr unsigned long long kNoIndex = ~0ull;

// Lowers *first to the flat index of a cell: the first cell in row order remains.
__device__ inline void note_first(unsigned long long* first, std::int64_t row, std::int64_t cols, std::int64_t col) {
  atomicMin(first, static_cast<unsigned long long>(row * cols + col));
}

}  // namespace vltr::cuda
