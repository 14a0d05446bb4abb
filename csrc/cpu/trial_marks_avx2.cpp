// The marks of trials for AVX2.
#if defined(__x86_64__)
#include "cpu/pack_avx2.inl"
#include "cpu/trial_marks.inl"
#endif
