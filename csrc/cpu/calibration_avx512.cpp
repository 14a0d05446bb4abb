// The sums of calibration errors for AVX-512.
#if defined(__x86_64__)
#include "cpu/pack_avx512.inl"
#include "cpu/calibration_rows.inl"
#endif
