// Everything between target_begin and target_end is compiled for AVX-512; what the headers above define is not, so no
// inline function of theirs can reach the linker in a form that other processors cannot run.
#if defined(__x86_64__)
#include <immintrin.h>

#include <limits>
#include <type_traits>

#include "cpu/scan_tile.hpp"

#define VLTR_TARGET "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2,popcnt,lzcnt"
#include "cpu/target_begin.hpp"
namespace vltr::cpu::avx512 {
#include "cpu/pack_avx512.hpp"
#include "cpu/scan_tile.inl"
}  // namespace vltr::cpu::avx512
#include "cpu/target_end.hpp"
#endif
