// The instruction set of the kernels: the best one of this processor, or the one named by VLTR_SIMD.
#pragma once

#include <string>
#include <vector>

// Applies DO to the namespace of each instruction set that has kernels.
#if defined(__x86_64__)
#define VLTR_FOR_EACH_ISA(DO) DO(generic) DO(avx2) DO(avx512)
#else
#define VLTR_FOR_EACH_ISA(DO) DO(generic)
#endif

namespace vltr::cpu {

enum class Simd { kGeneric, kAvx2, kAvx512 };

const char* simd_name(Simd level);
std::vector<Simd> simd_available();

// Reads the environment at each call, so that a test can force each level. Throws std::invalid_argument if VLTR_SIMD
// names a level that is unknown or not available.
Simd simd_level();

}  // namespace vltr::cpu
