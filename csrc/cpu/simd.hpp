// Which instruction set the kernels use: the best this processor has, or the one that VLTR_SIMD names.
#pragma once

#include <string>
#include <vector>

namespace vltr::cpu {

enum class Simd { kGeneric, kAvx2, kAvx512 };

const char* simd_name(Simd level);
std::vector<Simd> simd_available();

// Read from the environment at each call, so that a test can force each level in turn.
// Throws std::invalid_argument when VLTR_SIMD names a level that is unknown or not available.
Simd simd_level();

}  // namespace vltr::cpu
