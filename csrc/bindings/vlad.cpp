// The scaling of VLAD's sums, and the product of matrices. Python allocates all outputs.
#include "bindings/tensors.hpp"
#include "cpu/product.hpp"
#include "cpu/vlad.hpp"
#include "cuda/vlad.hpp"

namespace vltr {
namespace {

float* floats_of(const MaybeTensor& tensor) { return tensor ? reinterpret_cast<float*>(tensor->data) : nullptr; }

double* doubles_of(const Tensor& tensor) { return reinterpret_cast<double*>(tensor.data); }

// The core reads and writes all tensors of a call on the device of the first, by plain loads and stores.
void expect_usable(const Tensor& first, std::initializer_list<const Tensor*> others) {
  const auto check = [&](const Tensor& tensor) {
    expect(tensor.device == first.device, "tensors: expected all on one device");
    const auto itemsize = static_cast<std::uintptr_t>(size_of(tensor.dtype));
    auto offsets = reinterpret_cast<std::uintptr_t>(tensor.data);
    for (const std::int64_t stride : tensor.strides) offsets |= static_cast<std::uintptr_t>(stride);
    expect(tensor.size() == 0 || offsets % itemsize == 0, "tensors: expected elements at multiples of their size");
  };
  check(first);
  for (const Tensor* const tensor : others) {
    if (tensor != nullptr) check(*tensor);
  }
}

const Tensor* pointer_to(const MaybeTensor& tensor) { return tensor ? &*tensor : nullptr; }

VladShape shape_of(const Tensor& sums, bool whole) {
  expect(sums.shape.size() == 3 && is_output(sums, DType::kFloat32) && sums.shape[1] >= 1 && sums.shape[2] >= 1,
         "sums: expected (R, D, K) float32 in C order");
  return {sums.shape[0], sums.shape[1], sums.shape[2], whole};
}

void expect_floats(const MaybeTensor& tensor, std::initializer_list<std::int64_t> shape, const char* message) {
  expect(!tensor || (has_shape(*tensor, shape) && is_output(*tensor, DType::kFloat32)), message);
}

void expect_weights(const VladShape& shape, const MaybeTensor& mass, const MaybeTensor& centers,
                    const MaybeTensor& factors) {
  expect(mass.has_value() == centers.has_value(), "mass: expected one with centers, and none without them");
  expect_floats(mass, {shape.rows, shape.clusters}, "mass: expected (R, K) float32 in C order");
  expect_floats(centers, {shape.dims, shape.clusters}, "centers: expected (D, K) float32 in C order");
  expect_floats(factors, {shape.dims, shape.clusters}, "factors: expected (D, K) float32 in C order");
}

void expect_lengths(const VladShape& shape, const Tensor& lengths) {
  expect(has_shape(lengths, {shape.rows, shape.clusters}) && is_output(lengths, DType::kFloat64),
         "lengths: expected (R, K) float64 in C order");
}

void scale_vlad(const Tensor& sums, const MaybeTensor& mass, const MaybeTensor& centers, const MaybeTensor& factors,
                bool whole, const Tensor& out_lengths, int threads) {
  const VladShape shape = shape_of(sums, whole);
  expect_weights(shape, mass, centers, factors);
  expect_lengths(shape, out_lengths);
  expect_usable(sums, {pointer_to(mass), pointer_to(centers), pointer_to(factors), &out_lengths});
  const VladScaling request{
      shape, floats_of(sums), floats_of(mass), floats_of(centers), floats_of(factors), doubles_of(out_lengths)};
  run_on_device_of(
      sums, threads, [&](const cpu::Runner& runner) { cpu::scale_vlad(request, runner); },
      [&](const auto& stream) { cuda::scale_vlad(request, stream); });
}

void scale_vlad_gradient(const Tensor& vectors, const Tensor& gradient, const MaybeTensor& mass,
                         const MaybeTensor& centers, const MaybeTensor& factors, bool whole, const Tensor& lengths,
                         const Tensor& coefficients, const Tensor& out, const MaybeTensor& out_mass,
                         const MaybeTensor& out_centers, const MaybeTensor& out_factors, int threads) {
  const VladShape shape = shape_of(vectors, whole);
  expect(gradient.shape == vectors.shape && is_output(gradient, DType::kFloat32) && out.shape == vectors.shape &&
             is_output(out, DType::kFloat32),
         "gradient: expected (R, D, K) float32 in C order, and an output like it");
  expect_weights(shape, mass, centers, factors);
  expect_weights(shape, out_mass, out_centers, out_factors);
  expect(centers.has_value() == out_centers.has_value() && factors.has_value() == out_factors.has_value(),
         "out: expected an output for each weight");
  expect_lengths(shape, lengths);
  expect(has_shape(coefficients, {shape.rows, 3, shape.clusters}) && is_output(coefficients, DType::kFloat32),
         "coefficients: expected (R, 3, K) float32 in C order");
  expect_usable(vectors, {&gradient, pointer_to(mass), pointer_to(centers), pointer_to(factors), &lengths,
                          &coefficients, &out, pointer_to(out_mass), pointer_to(out_centers), pointer_to(out_factors)});
  const VladScalingGradient request{
      shape,
      floats_of(vectors),
      floats_of(gradient),
      floats_of(mass),
      floats_of(centers),
      floats_of(factors),
      doubles_of(lengths),
      floats_of(coefficients),
      floats_of(out),
      floats_of(out_mass),
      floats_of(out_centers),
      floats_of(out_factors),
  };
  run_on_device_of(
      vectors, threads, [&](const cpu::Runner& runner) { cpu::scale_vlad_gradient(request, runner); },
      [&](const auto& stream) { cuda::scale_vlad_gradient(request, stream); });
}

cpu::FloatMatrix floats_in(const Tensor& tensor) {
  constexpr std::int64_t kSize = sizeof(float);
  return {reinterpret_cast<const float*>(tensor.data), tensor.strides[0] / kSize, tensor.strides[1] / kSize};
}

void multiply(const Tensor& a, const Tensor& b, const Tensor& out, int threads) {
  for (const Tensor* const tensor : {&a, &b, &out}) {
    expect(tensor->shape.size() == 2 && tensor->dtype == DType::kFloat32 && !tensor->on_device(),
           "a, b, out: expected matrices of float32 in CPU memory");
  }
  expect(a.shape[1] == b.shape[0], "b: expected as many rows as a has columns");
  expect(has_shape(out, {a.shape[0], b.shape[1]}) && out.contiguous(),
         "out: expected (rows of a, columns of b) in C order");
  expect_usable(a, {&b, &out});
  const cpu::Product request{a.shape[0],   b.shape[1],   a.shape[1],
                             floats_in(a), floats_in(b), reinterpret_cast<float*>(out.data)};
  Call(threads, py::none())([&](const cpu::Runner& runner) { cpu::multiply(request, runner); });
}

}  // namespace

void bind_vlad(py::module_& module) {
  module.def("scale_vlad", &scale_vlad, "sums"_a, "mass"_a, "centers"_a, "factors"_a, "whole"_a, "out_lengths"_a,
             "threads"_a);
  module.def("scale_vlad_gradient", &scale_vlad_gradient, "vectors"_a, "gradient"_a, "mass"_a, "centers"_a, "factors"_a,
             "whole"_a, "lengths"_a, "coefficients"_a, "out"_a, "out_mass"_a, "out_centers"_a, "out_factors"_a,
             "threads"_a);
  module.def("multiply", &multiply, "a"_a, "b"_a, "out"_a, "threads"_a);
}

}  // namespace vltr
