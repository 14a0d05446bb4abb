// The operations of the bootstrap for AVX-512.
#if defined(__x86_64__)
#include "cpu/pack_avx512.inl"
#define VLTR_REGISTER_BYTES 64
#include "cpu/bootstrap_replicates.inl"
#endif
