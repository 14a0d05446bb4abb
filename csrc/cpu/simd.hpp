// The instruction set of the kernels: the best one of this processor, or the one named by VLTR_SIMD.
#pragma once

#include <string>
#include <vector>

namespace vltr::cpu {

enum class Simd { kGeneric, kAvx2, kAvx512 };

const char* simd_name(Simd level);
std::vector<Simd> simd_available();

// Reads the environment at each call, so that a test can force each level. Throws std::invalid_argument if VLTR_SIMD
// names a level that is unknown or not available.
Simd simd_level();

}  // namespace vltr::cpu
