// A block takes a row. A thread adds a block of dims of one cluster; the threads of a warp read neighbouring clusters.
// Sums over rows have a kernel of their own, which reads the row again: memory is faster than atomics in a fixed order.
#include "cuda/vlad.hpp"

#include "cuda/launch.cuh"

namespace vltr::cuda {
namespace {

constexpr int kThreads = 512;

__device__ std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// Calls add(cell, k, sum) for each cell of a row, and then done(k, total) for each cluster, as cpu::ClusterSums.
// cell: from the start of the row.
template <class Add, class Done>
__device__ void sum_clusters(const VladShape& shape, float* parts, const Add& add, const Done& done) {
  for (std::int64_t first_cluster = 0; first_cluster < shape.clusters; first_cluster += kThreads) {
    const int clusters = static_cast<int>(smaller(kThreads, shape.clusters - first_cluster));
    const int slots = kThreads / clusters;  // blocks of dims at once
    const int slot = static_cast<int>(threadIdx.x) / clusters;
    const std::int64_t k = first_cluster + static_cast<int>(threadIdx.x) % clusters;
    double total = 0.0;
    for (std::int64_t first = 0; first < shape.dims; first += slots * kDimsOfSum) {
      const std::int64_t begin = first + slot * kDimsOfSum;
      if (slot < slots) {
        const std::int64_t end = smaller(shape.dims, begin + kDimsOfSum);
        float sum = 0.0f;
        for (std::int64_t d = begin; d < end; ++d) add(d * shape.clusters + k, k, sum);
        parts[threadIdx.x] = sum;
      }
      __syncthreads();
      if (slot == 0) {
        for (int i = 0; i < slots && first + i * kDimsOfSum < shape.dims; ++i) {
          total += static_cast<double>(parts[i * clusters + static_cast<int>(threadIdx.x)]);
        }
      }
      __syncthreads();
    }
    if (slot == 0) done(k, total);
  }
  __syncthreads();
}

__global__ void __launch_bounds__(kThreads) scale_vlad_kernel(VladScaling request) {
  __shared__ float parts[kThreads];
  __shared__ double whole;
  const VladShape& shape = request.shape;
  const std::int64_t row = blockIdx.x;
  const std::int64_t cells = shape.dims * shape.clusters;
  float* const vectors = request.vectors + row * cells;
  double* const lengths = request.lengths + row * shape.clusters;
  sum_clusters(
      shape, parts,
      [&](std::int64_t cell, std::int64_t k, float& sum) {
        float x = vectors[cell];
        if (request.centers != nullptr) {
          x = residual_of(x, request.mass[row * shape.clusters + k], request.centers[cell]);
        }
        if (request.factors != nullptr) x *= request.factors[cell];
        vectors[cell] = x;
        sum += x * x;
      },
      [&](std::int64_t k, double total) { lengths[k] = sqrt(total); });
  if (threadIdx.x == 0) whole = sqrt(whole_square(shape, lengths));
  __syncthreads();
  for (std::int64_t cell = threadIdx.x; cell < cells; cell += kThreads) {
    vectors[cell] *= scale_of(lengths[cell % shape.clusters], whole);
  }
}

__global__ void __launch_bounds__(kThreads) unscale_vlad_kernel(VladScalingGradient request) {
  __shared__ float parts[kThreads];
  __shared__ double whole;
  __shared__ double products;
  const VladShape& shape = request.shape;
  const std::int64_t row = blockIdx.x;
  const std::int64_t cells = shape.dims * shape.clusters;
  const float* const vectors = request.vectors + row * cells;
  const float* const gradient = request.gradient + row * cells;
  float* const out = request.out + row * cells;
  const double* const lengths = request.lengths + row * shape.clusters;
  // The sums need 8 bytes a cluster, which are those of two coefficients until these are known.
  float* const coefficients = request.coefficients + row * 3 * shape.clusters;
  sum_clusters(
      shape, parts, [&](std::int64_t cell, std::int64_t, float& sum) { sum += gradient[cell] * vectors[cell]; },
      [&](std::int64_t k, double total) {
        const auto bits = bit_cast<std::uint64_t>(total);
        coefficients[k] = bit_cast<float>(static_cast<std::uint32_t>(bits));
        coefficients[shape.clusters + k] = bit_cast<float>(static_cast<std::uint32_t>(bits >> 32));
      });
  const auto product_of = [&](std::int64_t k) {
    const std::uint64_t low = bit_cast<std::uint32_t>(coefficients[k]);
    const std::uint64_t high = bit_cast<std::uint32_t>(coefficients[shape.clusters + k]);
    return bit_cast<double>(high << 32 | low);
  };
  if (threadIdx.x == 0) {
    whole = sqrt(whole_square(shape, lengths));
    double sum = 0.0;
    for (std::int64_t k = 0; k < shape.clusters; ++k) sum += product_of(k);
    products = sum;
  }
  __syncthreads();
  for (std::int64_t k = threadIdx.x; k < shape.clusters; k += kThreads) {
    const VladCoefficients of = coefficients_of(shape, lengths[k], whole, product_of(k), products);
    coefficients[k] = of.of_gradient;
    coefficients[shape.clusters + k] = of.of_vector;
    coefficients[2 * shape.clusters + k] = of.inverse;
  }
  __syncthreads();
  const auto unscaled = [&](std::int64_t cell, std::int64_t k) {
    const float of_x = gradient[cell] * coefficients[k] + vectors[cell] * coefficients[shape.clusters + k];
    return request.factors == nullptr ? of_x : of_x * request.factors[cell];
  };
  if (request.centers == nullptr) {
    for (std::int64_t cell = threadIdx.x; cell < cells; cell += kThreads) {
      out[cell] = unscaled(cell, cell % shape.clusters);
    }
    return;
  }
  sum_clusters(
      shape, parts,
      [&](std::int64_t cell, std::int64_t k, float& sum) {
        const float of_sum = unscaled(cell, k);
        out[cell] = of_sum;
        sum -= of_sum * request.centers[cell];
      },
      [&](std::int64_t k, double total) { request.out_mass[row * shape.clusters + k] = static_cast<float>(total); });
}

// A thread adds the rows of one cell of the weights.
__global__ void __launch_bounds__(kThreads) sum_vlad_weights_kernel(VladScalingGradient request) {
  const VladShape& shape = request.shape;
  const std::int64_t cells = shape.dims * shape.clusters;
  const std::int64_t cell = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (cell >= cells) return;
  const std::int64_t k = cell % shape.clusters;
  float factor = 0.0f;
  float center = 0.0f;
  for (std::int64_t first = 0; first < shape.rows; first += kRowsOfSum) {
    const std::int64_t end = smaller(shape.rows, first + kRowsOfSum);
    float of_factor = 0.0f;
    float of_center = 0.0f;
    for (std::int64_t row = first; row < end; ++row) {
      if (request.factors != nullptr) {
        const float* const coefficients = request.coefficients + row * 3 * shape.clusters;
        const float y = request.vectors[row * cells + cell];
        const float of_x =
            request.gradient[row * cells + cell] * coefficients[k] + y * coefficients[shape.clusters + k];
        of_factor += of_x * (y * coefficients[2 * shape.clusters + k]);
      }
      if (request.centers != nullptr) {
        of_center -= request.out[row * cells + cell] * request.mass[row * shape.clusters + k];
      }
    }
    factor += of_factor;
    center += of_center;
  }
  if (request.factors != nullptr) request.out_factors[cell] = factor;
  if (request.centers != nullptr) request.out_centers[cell] = center;
}

}  // namespace

void scale_vlad(const VladScaling& request, const Stream& stream) {
  if (request.shape.rows == 0) return;
  const DeviceGuard guard(stream.device);
  launch(stream, "scale_vlad", scale_vlad_kernel, request.shape.rows, kThreads, 0, request);
}

void scale_vlad_gradient(const VladScalingGradient& request, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  if (request.shape.rows != 0) {
    launch(stream, "scale_vlad_gradient", unscale_vlad_kernel, request.shape.rows, kThreads, 0, request);
  }
  if (request.factors == nullptr && request.centers == nullptr) return;
  launch(stream, "scale_vlad_gradient", sum_vlad_weights_kernel,
         blocks_for(request.shape.dims * request.shape.clusters, kThreads), kThreads, 0, request);
}

}  // namespace vltr::cuda
