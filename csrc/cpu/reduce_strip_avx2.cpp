// The reduction of views for AVX2.
#if defined(__x86_64__)
#include "cpu/pack_avx2.inl"
#include "cpu/reduce_strip.inl"
#endif
