// The sums of calibration errors for AVX2.
#if defined(__x86_64__)
#include "cpu/pack_avx2.inl"
#include "cpu/calibration_rows.inl"
#endif
