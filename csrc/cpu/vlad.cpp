// Both operations are bound by memory, so their loops over clusters are plain: a compiler vectorizes them. A row is
// read from memory once, and the second pass over it finds it in the cache.
#include "cpu/vlad.hpp"

#include <algorithm>
#include <cmath>

#include "core/large_array.hpp"
#include "core/span.hpp"

namespace vltr::cpu {
namespace {

std::int64_t cells_of(const VladShape& shape) { return shape.dims * shape.clusters; }

std::int64_t ceil_divide(std::int64_t count, std::int64_t size) { return (count + size - 1) / size; }

// A nanosecond for each number that a pass reads.
double cost_of(const VladShape& shape) {
  return static_cast<double>(shape.rows) * static_cast<double>(cells_of(shape));
}

// The sums over dims of one number for each cluster.
class ClusterSums {
 public:
  explicit ClusterSums(std::int64_t clusters) : block_(clusters), total_(clusters) {}

  // Calls add(d, sums) for each dim; it adds one number to each of the sums.
  template <class Add>
  const double* sum(std::int64_t dims, const Add& add) {
    const std::int64_t clusters = total_.count();
    std::fill_n(total_.data(), clusters, 0.0);
    for (std::int64_t first = 0; first < dims; first += kDimsOfSum) {
      std::fill_n(block_.data(), clusters, 0.0f);
      const std::int64_t end = std::min(dims, first + kDimsOfSum);
      for (std::int64_t d = first; d < end; ++d) add(d, block_.data());
      for (std::int64_t k = 0; k < clusters; ++k) total_[k] += static_cast<double>(block_[k]);
    }
    return total_.data();
  }

 private:
  Array<float> block_;
  Array<double> total_;
};

void subtract_centers(float* __restrict cells, const float* __restrict mass, const float* __restrict centers,
                      std::int64_t clusters) {
  for (std::int64_t k = 0; k < clusters; ++k) cells[k] = residual_of(cells[k], mass[k], centers[k]);
}

void multiply(float* __restrict cells, const float* __restrict factors, std::int64_t clusters) {
  for (std::int64_t k = 0; k < clusters; ++k) cells[k] *= factors[k];
}

void add_products(const float* __restrict a, const float* __restrict b, float* __restrict sums, std::int64_t clusters) {
  for (std::int64_t k = 0; k < clusters; ++k) sums[k] += a[k] * b[k];
}

void add_squares(const float* __restrict a, float* __restrict sums, std::int64_t clusters) {
  for (std::int64_t k = 0; k < clusters; ++k) sums[k] += a[k] * a[k];
}

void subtract_products(const float* __restrict a, const float* __restrict b, float* __restrict sums,
                       std::int64_t clusters) {
  for (std::int64_t k = 0; k < clusters; ++k) sums[k] -= a[k] * b[k];
}

void scale_row(const VladScaling& request, std::int64_t row, ClusterSums& sums, Array<float>& scale) {
  const VladShape& shape = request.shape;
  const std::int64_t clusters = shape.clusters;
  float* const vectors = request.vectors + row * cells_of(shape);
  double* const lengths = request.lengths + row * clusters;
  const double* const squares = sums.sum(shape.dims, [&](std::int64_t d, float* sum) {
    float* const cells = vectors + d * clusters;
    if (request.centers != nullptr) {
      subtract_centers(cells, request.mass + row * clusters, request.centers + d * clusters, clusters);
    }
    if (request.factors != nullptr) multiply(cells, request.factors + d * clusters, clusters);
    add_squares(cells, sum, clusters);
  });
  for (std::int64_t k = 0; k < clusters; ++k) lengths[k] = std::sqrt(squares[k]);
  const double whole = std::sqrt(whole_square(shape, lengths));
  for (std::int64_t k = 0; k < clusters; ++k) scale[k] = scale_of(lengths[k], whole);
  for (std::int64_t d = 0; d < shape.dims; ++d) multiply(vectors + d * clusters, scale.data(), clusters);
}

// Writes the coefficients of a row as three lists.
void set_coefficients(const VladScalingGradient& request, std::int64_t row, ClusterSums& sums) {
  const VladShape& shape = request.shape;
  const std::int64_t clusters = shape.clusters;
  const std::int64_t first = row * cells_of(shape);
  const double* const lengths = request.lengths + row * clusters;
  float* const coefficients = request.coefficients + row * 3 * clusters;
  const double* const product = sums.sum(shape.dims, [&](std::int64_t d, float* sum) {
    const std::int64_t cell = first + d * clusters;
    add_products(request.gradient + cell, request.vectors + cell, sum, clusters);
  });
  const double whole = std::sqrt(whole_square(shape, lengths));
  double products = 0.0;
  for (std::int64_t k = 0; k < clusters; ++k) products += product[k];
  for (std::int64_t k = 0; k < clusters; ++k) {
    const VladCoefficients of = coefficients_of(shape, lengths[k], whole, product[k], products);
    coefficients[k] = of.of_gradient;
    coefficients[clusters + k] = of.of_vector;
    coefficients[2 * clusters + k] = of.inverse;
  }
}

// out: the gradient of x for one dim.
void unscale(const float* __restrict gradient, const float* __restrict vectors, const float* __restrict coefficients,
             float* __restrict out, std::int64_t clusters) {
  for (std::int64_t k = 0; k < clusters; ++k) {
    out[k] = gradient[k] * coefficients[k] + vectors[k] * coefficients[clusters + k];
  }
}

// The same with factors: adds to the gradient of their logarithms, and multiplies by them.
void unscale_factors(const float* __restrict gradient, const float* __restrict vectors,
                     const float* __restrict coefficients, const float* __restrict factors, float* __restrict out,
                     float* __restrict out_factors, std::int64_t clusters) {
  for (std::int64_t k = 0; k < clusters; ++k) {
    const float of_x = gradient[k] * coefficients[k] + vectors[k] * coefficients[clusters + k];
    out_factors[k] += of_x * (vectors[k] * coefficients[2 * clusters + k]);
    out[k] = of_x * factors[k];
  }
}

// The gradients of a row. out_factors, out_centers: sums over the rows of a block.
void unscale_row(const VladScalingGradient& request, std::int64_t row, ClusterSums& sums, float* out_factors,
                 float* out_centers) {
  const VladShape& shape = request.shape;
  const std::int64_t clusters = shape.clusters;
  const std::int64_t first = row * cells_of(shape);
  set_coefficients(request, row, sums);
  const float* const coefficients = request.coefficients + row * 3 * clusters;
  const auto unscale_dim = [&](std::int64_t d) {
    const std::int64_t cell = first + d * clusters;
    const float* const gradient = request.gradient + cell;
    const float* const vectors = request.vectors + cell;
    if (request.factors == nullptr) {
      unscale(gradient, vectors, coefficients, request.out + cell, clusters);
    } else {
      unscale_factors(gradient, vectors, coefficients, request.factors + d * clusters, request.out + cell,
                      out_factors + d * clusters, clusters);
    }
  };
  if (request.centers == nullptr) {
    for (std::int64_t d = 0; d < shape.dims; ++d) unscale_dim(d);
    return;
  }
  const float* const mass = request.mass + row * clusters;
  const double* const of_mass = sums.sum(shape.dims, [&](std::int64_t d, float* sum) {
    unscale_dim(d);
    const float* const out = request.out + first + d * clusters;
    subtract_products(out, request.centers + d * clusters, sum, clusters);
    subtract_products(out, mass, out_centers + d * clusters, clusters);
  });
  for (std::int64_t k = 0; k < clusters; ++k) {
    request.out_mass[row * clusters + k] = static_cast<float>(of_mass[k]);
  }
}

// Adds the lists of all blocks, each of `cells` numbers.
void add_blocks(const LargeArray<float>& blocks, std::int64_t cells, float* out, const Runner& runner) {
  constexpr std::int64_t kCells = 1 << 12;
  runner.run(ceil_divide(cells, kCells), [&](std::int64_t item, int) {
    const std::int64_t first = item * kCells;
    const std::int64_t count = std::min(kCells, cells - first);
    std::fill_n(out + first, count, 0.0f);
    for (std::int64_t block = first; block < blocks.count(); block += cells) {
      const float* const more = blocks.data() + block;
      for (std::int64_t i = 0; i < count; ++i) out[first + i] += more[i];
    }
  });
}

}  // namespace

void scale_vlad(const VladScaling& request, const Runner& runner) {
  const VladShape& shape = request.shape;
  runner.for_cost(cost_of(shape)).run(shape.rows, [&](std::int64_t row, int) {
    ClusterSums sums(shape.clusters);
    Array<float> scale(shape.clusters);
    scale_row(request, row, sums, scale);
  });
}

void scale_vlad_gradient(const VladScalingGradient& request, const Runner& runner) {
  const VladShape& shape = request.shape;
  const std::int64_t cells = cells_of(shape);
  const std::int64_t blocks = ceil_divide(shape.rows, kRowsOfSum);
  LargeArray<float> of_factors;
  LargeArray<float> of_centers;
  if (request.factors != nullptr) of_factors.resize(blocks * cells);
  if (request.centers != nullptr) of_centers.resize(blocks * cells);
  const auto zeroed = [&](LargeArray<float>& sums, std::int64_t block) -> float* {
    if (sums.count() == 0) return nullptr;
    std::fill_n(sums.data() + block * cells, cells, 0.0f);
    return sums.data() + block * cells;
  };
  const Phases phases(runner, {2.0 * cost_of(shape), cost_of(shape) / kRowsOfSum, cost_of(shape) / kRowsOfSum});
  phases.phase(0).run(blocks, [&](std::int64_t block, int) {
    ClusterSums sums(shape.clusters);
    float* const factors = zeroed(of_factors, block);
    float* const centers = zeroed(of_centers, block);
    const std::int64_t end = std::min(shape.rows, (block + 1) * kRowsOfSum);
    for (std::int64_t row = block * kRowsOfSum; row < end; ++row) unscale_row(request, row, sums, factors, centers);
  });
  if (request.factors != nullptr) add_blocks(of_factors, cells, request.out_factors, phases.phase(1));
  if (request.centers != nullptr) add_blocks(of_centers, cells, request.out_centers, phases.phase(2));
}

}  // namespace vltr::cpu
