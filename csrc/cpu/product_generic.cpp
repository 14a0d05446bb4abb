// The product of matrices for every processor.
#include "cpu/product.hpp"

#define VLTR_ISA generic
namespace vltr::cpu::generic {
namespace {

struct Lanes {
  static constexpr int kCount = 4;
  static constexpr int kRows = 4;
  static constexpr int kVectors = 2;
  float lanes[kCount];

  static Lanes load(const float* ptr) { return {{ptr[0], ptr[1], ptr[2], ptr[3]}}; }
  static Lanes broadcast(float value) { return {{value, value, value, value}}; }
  static Lanes add(const Lanes& a, const Lanes& b) {
    Lanes out;
    for (int i = 0; i < kCount; ++i) out.lanes[i] = a.lanes[i] + b.lanes[i];
    return out;
  }
  static Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& sum) {
    Lanes out;
    for (int i = 0; i < kCount; ++i) out.lanes[i] = a.lanes[i] * b.lanes[i] + sum.lanes[i];
    return out;
  }
  void store(float* ptr) const {
    for (int i = 0; i < kCount; ++i) ptr[i] = lanes[i];
  }
};

}  // namespace
}  // namespace vltr::cpu::generic

#include "cpu/product_tile.inl"
