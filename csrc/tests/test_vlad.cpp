// csrc/cpu/vlad.cpp and csrc/cpu/product.cpp against their definitions, for each instruction set and several threads.
//
// Every array has exactly its size, so that AddressSanitizer sees any access outside it. The shapes have several items
// of work, and cost enough that the other threads are woken: ThreadSanitizer sees them.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "core/span.hpp"
#include "cpu/product.hpp"
#include "cpu/simd.hpp"
#include "cpu/vlad.hpp"
#include "tests/check.hpp"

namespace vltr::cpu {
namespace {

using test::Random;
using test::trying;

constexpr int kThreads[] = {1, 2, 7};

Runner runner_of(int threads) {
  Runner runner;
  runner.threads = threads;
  return runner;
}

// Calls function for each instruction set of this processor, selected by VLTR_SIMD.
template <class Function>
void for_each_simd(const Function& function) {
  for (const Simd level : simd_available()) {
    setenv("VLTR_SIMD", simd_name(level), 1);
    function(simd_name(level));
  }
  unsetenv("VLTR_SIMD");
}

template <class T>
bool same_bits(const Array<T>& a, const Array<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

Array<float> random_floats(Random& random, std::int64_t count, float least) {
  Array<float> values(count);
  for (float& value : values) value = static_cast<float>(random.below(1 << 20)) * 0x1p-19f + least;
  return values;
}

// ---------------------------------------------------------------------------------------------------------------------
// Products
// ---------------------------------------------------------------------------------------------------------------------

struct Sizes {
  std::int64_t rows;
  std::int64_t depth;
  std::int64_t cols;
};

// Several groups of columns; rows that are divided among threads; several blocks of depth and of rows; ragged edges.
constexpr Sizes kProducts[] = {{1, 1, 1}, {65, 40, 700}, {130, 300, 70}, {40, 2100, 300}, {1100, 60, 33}, {9, 0, 5}};

// A matrix of whole numbers, whose products are exact. Its columns are `gap` apart, or its rows if it is turned.
struct Numbers {
  Numbers(Random& random, std::int64_t rows, std::int64_t cols, bool is_turned, std::int64_t gap)
      : row_stride(is_turned ? gap : cols * gap), col_stride(is_turned ? rows * gap : gap) {
    const bool is_empty = rows == 0 || cols == 0;
    values = Array<float>(is_empty ? 0 : (rows - 1) * row_stride + (cols - 1) * col_stride + 1);
    for (float& value : values) value = static_cast<float>(random.below(19) - 9);
  }
  float at(std::int64_t i, std::int64_t j) const { return values[i * row_stride + j * col_stride]; }
  FloatMatrix matrix() const { return {values.data(), row_stride, col_stride}; }

  std::int64_t row_stride;
  std::int64_t col_stride;
  Array<float> values;
};

void products_are_those_of_the_definition() {
  Random random(1);
  for (const Sizes& sizes : kProducts) {
    for (const bool is_turned : {false, true}) {
      const Numbers a(random, sizes.rows, sizes.depth, is_turned, 1);
      const Numbers b(random, sizes.depth, sizes.cols, is_turned, 1 + sizes.cols % 2);
      Array<float> expected(sizes.rows * sizes.cols);
      for (std::int64_t i = 0; i < sizes.rows; ++i) {
        for (std::int64_t j = 0; j < sizes.cols; ++j) {
          std::int64_t sum = 0;
          for (std::int64_t k = 0; k < sizes.depth; ++k) sum += static_cast<int>(a.at(i, k) * b.at(k, j));
          expected[i * sizes.cols + j] = static_cast<float>(sum);
        }
      }
      for_each_simd([&](const char* simd) {
        for (const int threads : kThreads) {
          trying = std::to_string(sizes.rows) + " x " + std::to_string(sizes.depth) + " x " +
                   std::to_string(sizes.cols) + ", " + simd + ", threads " + std::to_string(threads);
          Array<float> out(sizes.rows * sizes.cols, NAN);
          multiply({sizes.rows, sizes.cols, sizes.depth, a.matrix(), b.matrix(), out.data()}, runner_of(threads));
          CHECK(same_bits(out, expected));
        }
      });
    }
  }
}

void products_have_the_bits_of_one_thread() {
  Random random(2);
  for (const Sizes& sizes : kProducts) {
    const Array<float> a = random_floats(random, sizes.rows * sizes.depth, -0.9f);
    const Array<float> b = random_floats(random, sizes.depth * sizes.cols, -0.9f);
    for_each_simd([&](const char* simd) {
      Array<float> expected;
      for (const int threads : kThreads) {
        trying = std::to_string(sizes.rows) + " x " + std::to_string(sizes.depth) + " x " + std::to_string(sizes.cols) +
                 ", " + simd + ", threads " + std::to_string(threads);
        Array<float> out(sizes.rows * sizes.cols, NAN);
        multiply(
            {sizes.rows, sizes.cols, sizes.depth, {a.data(), sizes.depth, 1}, {b.data(), sizes.cols, 1}, out.data()},
            runner_of(threads));
        if (threads == 1) expected = out;
        CHECK(same_bits(out, expected));
      }
    });
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Scaling
// ---------------------------------------------------------------------------------------------------------------------

struct Scaled {
  Array<float> vectors;
  Array<double> lengths;
  Array<float> out, out_mass, out_centers, out_factors;
};

struct Inputs {
  VladShape shape;
  Array<float> sums, gradient, mass, centers, factors;
};

// Some clusters are 0, and the sums of some are so small that their length counts as the least.
Inputs inputs_of(Random& random, const VladShape& shape) {
  const std::int64_t cells = shape.dims * shape.clusters;
  Inputs inputs{shape,
                random_floats(random, shape.rows * cells, -0.9f),
                random_floats(random, shape.rows * cells, -0.9f),
                random_floats(random, shape.rows * shape.clusters, 0.5f),
                random_floats(random, cells, -0.9f),
                random_floats(random, cells, 0.1f)};
  for (std::int64_t i = 0; i < shape.rows * shape.clusters; ++i) {
    const int kind = random.below(8);
    if (kind > 1) continue;
    const std::int64_t first = i / shape.clusters * cells + i % shape.clusters;
    for (std::int64_t d = 0; d < shape.dims; ++d) inputs.sums[first + d * shape.clusters] *= kind == 0 ? 0.0f : 1e-16f;
  }
  return inputs;
}

Scaled scale(const Inputs& inputs, bool has_weights, int threads) {
  const VladShape& shape = inputs.shape;
  const auto optional = [&](const Array<float>& values) { return has_weights ? values.data() : nullptr; };
  const auto room = [&](const Array<float>& values) { return Array<float>(has_weights ? values.count() : 0, NAN); };
  Scaled scaled{inputs.sums,          Array<double>(shape.rows * shape.clusters, NAN),
                room(inputs.sums),    room(inputs.mass),
                room(inputs.centers), room(inputs.factors)};
  scaled.out = Array<float>(inputs.sums.count(), NAN);
  scale_vlad({shape, scaled.vectors.data(), optional(inputs.mass), optional(inputs.centers), optional(inputs.factors),
              scaled.lengths.data()},
             runner_of(threads));
  Array<float> coefficients(shape.rows * 3 * shape.clusters);
  const auto output = [&](Array<float>& values) { return has_weights ? values.data() : nullptr; };
  scale_vlad_gradient(
      {shape, scaled.vectors.data(), inputs.gradient.data(), optional(inputs.mass), optional(inputs.centers),
       optional(inputs.factors), scaled.lengths.data(), coefficients.data(), scaled.out.data(), output(scaled.out_mass),
       output(scaled.out_centers), output(scaled.out_factors)},
      runner_of(threads));
  return scaled;
}

// The formula, for one number after another.
Array<double> scaled_by_definition(const Inputs& inputs, bool has_weights) {
  const auto [num_rows, dims, clusters, whole] = inputs.shape;
  Array<double> out(inputs.sums.count());
  for (std::int64_t r = 0; r < num_rows; ++r) {
    double square_of_all = 0.0;
    const auto at = [&, dims = dims, clusters = clusters](std::int64_t d, std::int64_t k) -> double& {
      return out[(r * dims + d) * clusters + k];
    };
    for (std::int64_t k = 0; k < clusters; ++k) {
      double square = 0.0;
      for (std::int64_t d = 0; d < dims; ++d) {
        double x = static_cast<double>(inputs.sums[(r * dims + d) * clusters + k]);
        if (has_weights) {
          x -= static_cast<double>(inputs.mass[r * clusters + k]) *
               static_cast<double>(inputs.centers[d * clusters + k]);
          x *= static_cast<double>(inputs.factors[d * clusters + k]);
        }
        at(d, k) = x;
        square += x * x;
      }
      const double length = std::max(std::sqrt(square), kLeastLength);
      for (std::int64_t d = 0; d < dims; ++d) at(d, k) /= length;
      square_of_all += square / length / length;
    }
    const double length = whole ? std::max(std::sqrt(square_of_all), kLeastLength) : 1.0;
    for (std::int64_t d = 0; d < dims; ++d) {
      for (std::int64_t k = 0; k < clusters; ++k) at(d, k) /= length;
    }
  }
  return out;
}

// Several rows, blocks of rows and blocks of dims; the last has the many clusters of one row.
constexpr VladShape kVlads[] = {
    {1, 1, 1, true}, {67, 70, 9, true}, {67, 70, 9, false}, {41, 33, 64, true}, {3, 40, 600, true}};

void scaled_sums_are_those_of_the_definition() {
  Random random(3);
  for (const VladShape& shape : kVlads) {
    const Inputs inputs = inputs_of(random, shape);
    for (const bool has_weights : {false, true}) {
      trying = std::to_string(shape.rows) + " x " + std::to_string(shape.dims) + " x " + std::to_string(shape.clusters);
      const Array<double> expected = scaled_by_definition(inputs, has_weights);
      const Scaled scaled = scale(inputs, has_weights, 7);
      double worst = 0.0;
      for (std::int64_t i = 0; i < expected.count(); ++i) {
        worst = std::max(worst, std::abs(static_cast<double>(scaled.vectors[i]) - expected[i]));
      }
      CHECK(worst < 3e-6);
    }
  }
}

void scaling_has_the_bits_of_one_thread() {
  Random random(4);
  for (const VladShape& shape : kVlads) {
    const Inputs inputs = inputs_of(random, shape);
    for (const bool has_weights : {false, true}) {
      const Scaled expected = scale(inputs, has_weights, 1);
      for (const int threads : kThreads) {
        trying = std::to_string(shape.rows) + " x " + std::to_string(shape.dims) + " x " +
                 std::to_string(shape.clusters) + ", threads " + std::to_string(threads);
        const Scaled scaled = scale(inputs, has_weights, threads);
        CHECK(same_bits(scaled.vectors, expected.vectors));
        CHECK(same_bits(scaled.lengths, expected.lengths));
        CHECK(same_bits(scaled.out, expected.out));
        CHECK(same_bits(scaled.out_mass, expected.out_mass));
        CHECK(same_bits(scaled.out_centers, expected.out_centers));
        CHECK(same_bits(scaled.out_factors, expected.out_factors));
        for (const float value : scaled.out) CHECK(std::isfinite(value));
        for (const float value : scaled.out_mass) CHECK(std::isfinite(value));
        for (const float value : scaled.out_centers) CHECK(std::isfinite(value));
        for (const float value : scaled.out_factors) CHECK(std::isfinite(value));
      }
    }
  }
}

}  // namespace
}  // namespace vltr::cpu

int main() {
  using namespace vltr::cpu;
  return vltr::test::run_tests({
      {"products_are_those_of_the_definition", products_are_those_of_the_definition},
      {"products_have_the_bits_of_one_thread", products_have_the_bits_of_one_thread},
      {"scaled_sums_are_those_of_the_definition", scaled_sums_are_those_of_the_definition},
      {"scaling_has_the_bits_of_one_thread", scaling_has_the_bits_of_one_thread},
  });
}
