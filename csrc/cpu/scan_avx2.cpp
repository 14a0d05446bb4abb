// See scan_avx512.cpp for what the target lines keep apart.
#if defined(__x86_64__)
#include <immintrin.h>

#include <limits>
#include <type_traits>

#include "cpu/scan_tile.hpp"

#define VLTR_TARGET "avx2,fma,f16c,bmi,bmi2,popcnt"
#include "cpu/target_begin.hpp"
namespace vltr::cpu::avx2 {

#include "cpu/pack_generic.hpp"
#include "cpu/pack_avx2.hpp"
#include "cpu/scan_tile.inl"
}  // namespace vltr::cpu::avx2
#include "cpu/target_end.hpp"
#endif
