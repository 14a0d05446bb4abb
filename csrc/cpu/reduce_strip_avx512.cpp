// The reduction of views for AVX-512.
#if defined(__x86_64__)
#include "cpu/pack_avx512.inl"
#include "cpu/reduce_strip.inl"
#endif
