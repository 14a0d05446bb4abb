// The marks of trials for AVX-512.
#if defined(__x86_64__)
#include "cpu/pack_avx512.inl"
#include "cpu/trial_marks.inl"
#endif
