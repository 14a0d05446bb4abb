// The operations of the bootstrap for AVX2.
#if defined(__x86_64__)
#include "cpu/pack_avx2.inl"
#define VLTR_REGISTER_BYTES 32
#include "cpu/bootstrap_replicates.inl"
#endif
