#include "cpu/simd.hpp"

#include <cstdlib>
#include <stdexcept>

namespace vltr::cpu {

const char* simd_name(Simd level) {
  return level == Simd::kAvx512 ? "avx512" : level == Simd::kAvx2 ? "avx2" : "generic";
}

std::vector<Simd> simd_available() {
  std::vector<Simd> levels{Simd::kGeneric};
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
  if (avx2) levels.push_back(Simd::kAvx2);
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    levels.push_back(Simd::kAvx512);
  }
#endif
  return levels;
}

Simd simd_level() {
  static const std::vector<Simd> available = simd_available();
  const char* requested = std::getenv("VLTR_SIMD");
  if (requested == nullptr || *requested == '\0') return available.back();
  std::string names;
  for (const Simd level : available) {
    if (std::string(requested) == simd_name(level)) return level;
    names += names.empty() ? simd_name(level) : std::string(", ") + simd_name(level);
  }
  throw std::invalid_argument("VLTR_SIMD: expected one of " + names + " on this processor, got '" + requested + "'");
}

}  // namespace vltr::cpu
