// The scaling of VLAD's sums: residuals to centers, factors, a length of 1 for each cluster and for all of them.
//
// A row has D x K sums s_dk, cluster k fastest. x_dk = (s_dk - m_k c_dk) f_dk, n_k = the length of x_.k,
// h_k = n_k / max(n_k, 1e-12) and H = the length of h. The result is y_dk = x_dk / max(n_k, 1e-12) / max(H, 1e-12).
// Centers, factors and H are optional.
//
// Sums over dims add blocks of 32 as floats, and the blocks as doubles. Sums over rows add blocks of 8, and then the
// blocks, as floats. Every sum is in rising order, so that CPU and CUDA give the same bits with any number of threads.
//
// Test  csrc/tests/test_vlad.cpp, tests/train/test_vlad_scaling.py
#pragma once

#include "core/element.hpp"

namespace vltr {

constexpr double kLeastLength = 1e-12;  // the smallest divisor, as of torch's normalize()
constexpr std::int64_t kDimsOfSum = 32;
constexpr std::int64_t kRowsOfSum = 8;

struct VladShape {
  std::int64_t rows;
  std::int64_t dims;
  std::int64_t clusters;
  bool whole;  // H is a divisor
};

struct VladScaling {
  VladShape shape;
  float* vectors;        // (R, D, K), the sums, which become the result
  const float* mass;     // (R, K), m; null without centers
  const float* centers;  // (D, K), or null
  const float* factors;  // (D, K), or null
  double* lengths;       // (R, K), n
};

struct VladScalingGradient {
  VladShape shape;
  const float* vectors;   // (R, D, K), the result
  const float* gradient;  // (R, D, K), of the result
  const float* mass;
  const float* centers;
  const float* factors;
  const double* lengths;
  float* coefficients;  // (R, 3, K), scratch
  float* out;           // (R, D, K), the gradient of the sums
  float* out_mass;      // (R, K); null without centers
  float* out_centers;   // (D, K); null without centers
  float* out_factors;   // (D, K), the gradient of log f; null without factors
};

VLTR_HD double divisor_of(double length) { return length < kLeastLength ? kLeastLength : length; }

// H squared, or 1 if it is no divisor. Headers of core have no square root.
VLTR_HD double whole_square(const VladShape& shape, const double* lengths) {
  if (!shape.whole) return 1.0;
  double sum = 0.0;
  for (std::int64_t k = 0; k < shape.clusters; ++k) {
    const double part = lengths[k] / divisor_of(lengths[k]);
    sum += part * part;
  }
  return sum;
}

VLTR_HD float scale_of(double length, double whole) {
  return static_cast<float>(1.0 / (divisor_of(length) * divisor_of(whole)));
}

VLTR_HD float residual_of(float sum, float mass, float center) { return sum - mass * center; }

// The gradient of x is gradient * of_gradient + y * of_vector, and x is y * inverse.
struct VladCoefficients {
  float of_gradient;
  float of_vector;
  float inverse;
};

// product: the sum over dims of gradient * y for this cluster; products: its sum over all clusters.
VLTR_HD VladCoefficients coefficients_of(const VladShape& shape, double length, double whole, double product,
                                         double products) {
  const double divisor = divisor_of(length) * divisor_of(whole);
  double of_vector = 0.0;
  if (!(length < kLeastLength)) {
    of_vector = -product * divisor_of(whole) / length;  // h is 1 and does not change
  } else if (shape.whole && whole >= kLeastLength) {
    of_vector = -products / (kLeastLength * whole);  // n_k changes H
  }
  return {static_cast<float>(1.0 / divisor), static_cast<float>(of_vector), static_cast<float>(divisor)};
}

}  // namespace vltr
